import { invalidOption } from './errors.js';
import { native, type CounterName } from './native.js';

const { layout } = native;

/** The time from receiving packets to sending their verdicts. */
export interface Latency {
  /** How many packets were measured. */
  readonly count: number;
  /**
   * The nanoseconds that this percentage of the packets did not exceed, at most an eighth too high; 0 if
   * none was measured.
   * @param percent 0 to 100; 100 gives the maximum
   * @throws NfqClusterError `ERR_INVALID_OPTION`
   */
  percentile(percent: number): number;
}

/**
 * Counts since the engine was opened, or their growth over an interval; the sum of all queues. They are read while the
 * queue threads count, so that `buckets` and `latency` may miss packets that are in `received`, or have more.
 */
export interface Stats {
  /** Packets that were decided: owned + foreign + unknown + malformed. */
  received: number;
  /** Packets whose bucket was owned. */
  owned: number;
  /** Packets whose bucket was not owned. */
  foreign: number;
  /** Packets whose connection's original direction was not known. Treated as foreign. */
  unknown: number;
  /** Packets or messages that could not be read, or came from an unknown interface. Treated as foreign. */
  malformed: number;
  /** Unicast packets from multicast frames that passed: their pkt_type is, or is to be, set to HOST. */
  fixups: number;
  /** Verdicts that the kernel refused, or that could not be sent. */
  verdictErrors: number;
  /** Sends of verdicts. */
  batches: number;
  /** Receive calls that failed for lack of memory or buffer space. */
  receiveErrors: number;
  /** Packets that the kernel dropped because the queue was full. */
  queueDropped: number;
  /** Packets that the kernel dropped because the socket's receive buffer was full. */
  userDropped: number;
  /** Bytes of receive buffer that the kernel granted; always the current value, never a growth. */
  receiveBuffer: number;
  /** Packets whose connection the queue thread had looked up for another packet in the last second. */
  flowHits: number;
  /** Packets whose connection ctnetlink was asked for. */
  lookups: number;
  /** Those of them whose connection it knew. */
  lookupHits: number;
  /** Those whose connection it did not know, but a helper expected. */
  expected: number;
  /** Nanoseconds spent on lookups. */
  lookupTime: number;
  /** Connections that helpers expect, counted in every queue thread; always the current value. */
  expectations: number;
  /** How often the kernel could not tell a queue thread of every expected connection. */
  expectationsLost: number;
  /** Owned packets that the kernel passed by itself, not counted in `received`. Only with `offload`. */
  offloadedOwned: number;
  /** Foreign packets that it dropped or, under action `mark`, passed unmarked; likewise. */
  offloadedForeign: number;
  /** Packets per bucket, by the bucket's number. */
  buckets: number[];
  /** Batches per size: index n, 0 to 64, counts those of n packets. */
  batchSizes: number[];
  latency: Latency;
}

/** A copy of the slots, all queue threads added up. */
export type Snapshot = Float64Array;

/** Reads the memory that the queue threads write. */
export class StatsReader {
  readonly #slots: BigUint64Array;
  readonly #buckets: number;

  constructor(memory: ArrayBuffer, buckets: number) {
    this.#slots = new BigUint64Array(memory);
    this.#buckets = buckets;
  }

  snapshot(): Snapshot {
    const sums = new Float64Array(layout.stride);
    for (let slot = 0; slot < this.#slots.length; slot += 1) {
      sums[slot % layout.stride]! += Number(Atomics.load(this.#slots, slot));
    }
    return sums;
  }

  stats(now: Snapshot, since?: Snapshot): Stats {
    const growth = since === undefined ? now : now.map((value, slot) => value - since[slot]!);
    const counters = Object.fromEntries(
      Object.entries(layout.counters).map(([name, slot]) => [name, growth[slot]!]),
    ) as Record<CounterName, number>;
    for (const gauge of ['receiveBuffer', 'expectations'] as const) {
      counters[gauge] = now[layout.counters[gauge]]!;
    }
    const { owned, foreign, unknown, malformed } = counters;
    return {
      received: owned + foreign + unknown + malformed,
      ...counters,
      buckets: Array.from(slice(growth, layout.buckets).subarray(0, this.#buckets)),
      batchSizes: Array.from(slice(growth, layout.batchSizes)),
      latency: new Histogram(slice(growth, layout.latency)),
    };
  }
}

const slice = (
  slots: Snapshot,
  { offset, length }: { offset: number; length: number },
): Float64Array => slots.subarray(offset, offset + length);

class Histogram implements Latency {
  readonly #slots: Float64Array;
  readonly count: number;

  constructor(slots: Float64Array) {
    this.#slots = slots;
    this.count = slots.reduce((sum, value) => sum + value, 0);
  }

  percentile(percent: number): number {
    if (typeof percent !== 'number' || Number.isNaN(percent))
      throw invalidOption('percent', 'a number from 0 to 100', percent);
    if (this.count === 0) return 0;
    const rank = Math.max(1, Math.ceil((Math.min(Math.max(percent, 0), 100) / 100) * this.count));
    let below = 0;
    for (let slot = 0; slot < this.#slots.length; slot += 1) {
      below += this.#slots[slot]!;
      if (below >= rank) return upperBound(slot);
    }
    return upperBound(this.#slots.length - 1);
  }

  toJSON(): { count: number; p50: number; p90: number; p99: number; max: number } {
    return {
      count: this.count,
      p50: this.percentile(50),
      p90: this.percentile(90),
      p99: this.percentile(99),
      max: this.percentile(100),
    };
  }
}

/** The greatest value that falls into a slot; for the last one, which is open, its least. */
function upperBound(slot: number): number {
  const next = layout.latencyLowerBounds[slot + 1];
  return next === undefined ? layout.latencyLowerBounds[slot]! : next - 1;
}
