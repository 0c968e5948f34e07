import type { ConntrackSource, Offload } from '../conntrack-options.js';
import type { Engine } from '../engine.js';
import type { HashMode, MaskedMark, Policy, ResolvedInterface } from '../options.js';
import type { Mechanism } from '../setup/index.js';
import type { Stats } from '../stats.js';

/** What an engine is and does, as `ready` and the control socket tell it. Plain JSON. */
export interface Summary {
  policy: Policy;
  /** Of policy `clusterip`; null for the others. */
  hashMode: HashMode | null;
  hashSeed: number;
  buckets: number;
  /** The number of buckets owned. */
  owned: number;
  action: 'drop' | 'mark';
  interfaces: readonly ResolvedInterface[];
  queues: readonly number[];
  rules: { by: string; name: string } | null;
  netns: string | null;
  /** What tells the original direction of a connection, and why that. */
  conntrack: { source: ConntrackSource; why: string };
  /** What the kernel decides by itself; how much of it, `counts` says. */
  offload: readonly Offload[];
  /** Bytes. */
  receiveBuffer: number;
}

/** A running engine, seen through its control socket. */
export interface Status extends Summary {
  name: string;
  pid: number;
  /** Node numbers, ascending; null where buckets are fine-grained. */
  nodes: number[] | null;
  /** Bucket numbers, ascending. */
  ownedBuckets: readonly number[];
  /** What owned packets carry under action `mark`. */
  ownedMark: MaskedMark;
  /** Milliseconds until nothing is owned; 0 if that is over, null if it never comes. */
  validFor: number | null;
  /** Since the start. */
  counts: Counts;
}

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
  const { policy, hashMode, hashSeed, buckets, action, interfaces, queues, name, netns } = options;
  return {
    policy,
    hashMode: policy === 'clusterip' ? hashMode : null,
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
