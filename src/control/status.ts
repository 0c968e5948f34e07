import type { ConntrackSource, Offload } from '../options/conntrack.js';
import type { Engine } from '../engine.js';
import type { HashMode, MaskedMark, Policy, ResolvedInterface } from '../options/types.js';
import type { Mechanism } from '../setup/ruleset.js';
import type { Stats } from '../stats.js';

/** What an engine is and does, as `run --json` and the control socket report it. Plain JSON. */
export interface Summary {
  policy: Policy;
  /** Null unless the policy is `clusterip`. */
  hashMode: HashMode | null;
  /** Whether it behaves exactly as the original; null unless the policy is `clusterip`. */
  strict: boolean | null;
  hashSeed: number;
  /** The number of buckets. */
  buckets: number;
  /** How many of them are owned. */
  owned: number;
  action: 'drop' | 'mark';
  interfaces: readonly ResolvedInterface[];
  queues: readonly number[];
  /** What sends packets to the queue, and the name of its table or chain; null with `rules: 'none'`. */
  rules: { by: string; name: string } | null;
  /** Null for the process's own. */
  netns: string | null;
  /** How the engine learns a connection's original direction, and why in that way. */
  conntrack: { source: ConntrackSource; why: string };
  /** What the kernel decides by itself. */
  offload: readonly Offload[];
  /** Bytes that the kernel granted; the sum of all queues. */
  receiveBuffer: number;
}

/** A running engine, as its control socket reports it. */
export interface Status extends Summary {
  name: string;
  pid: number;
  /** Node numbers, ascending; null where buckets are fine-grained. */
  nodes: number[] | null;
  /** Bucket numbers from 0, ascending; the set as it was given, even once its time is over, as is `nodes`. */
  ownedBuckets: readonly number[];
  /** What is set in the mark of owned packets under action `mark`. */
  ownedMark: MaskedMark;
  /** Milliseconds until nothing is owned any more: 0 once the time is over, null without a deadline. */
  validFor: number | null;
  /** Since the engine was opened. */
  counts: Counts;
}

/** The counts of `Stats`, without those per bucket and batch size; latencies in nanoseconds. */
export type Counts = ReturnType<typeof counts>;

export function status(engine: Engine): Status {
  const { options, ownership } = engine;
  return {
    name: options.name,
    pid: process.pid,
    ...summary(engine),
    nodes: options.classic ? ownership.buckets.map((bucket) => bucket + 1) : null,
    ownedBuckets: ownership.buckets,
    ownedMark: options.marks.owned,
    validFor: ownership.validFor === Infinity ? null : ownership.validFor,
    counts: counts(engine.stats()),
  };
}

export function summary(engine: Engine): Summary {
  const { options, ownership, mechanism } = engine;
  const { policy, hashMode, strict, hashSeed, buckets, action, interfaces, queues, name, netns } =
    options;
  return {
    policy,
    hashMode: policy === 'clusterip' ? hashMode : null,
    strict: policy === 'clusterip' ? strict : null,
    hashSeed,
    buckets,
    owned: ownership.buckets.length,
    action,
    interfaces,
    queues,
    rules:
      mechanism === undefined
        ? null
        : { by: mechanismName(mechanism), name: `nfq-cluster-${name}` },
    netns: netns ?? null,
    conntrack: { source: engine.conntrack.source, why: engine.conntrack.why },
    offload: options.offload,
    receiveBuffer: engine.stats().receiveBuffer,
  };
}

const mechanismName = (mechanism: Mechanism): string =>
  mechanism.kind === 'xtables' ? mechanism.iptables : mechanism.kind;

/** Counts as plain JSON, with the latency's percentiles in nanoseconds. */
export function counts(stats: Stats) {
  const {
    buckets: _buckets,
    batchSizes: _sizes,
    receiveBuffer: _bytes,
    latency,
    ...numbers
  } = stats;
  return {
    ...numbers,
    latency: {
      count: latency.count,
      p50: latency.percentile(50),
      p99: latency.percentile(99),
      max: latency.percentile(100),
    },
  };
}
