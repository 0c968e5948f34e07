/* Statistics read from memory that nobody but the test writes. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { describe, test } from 'node:test';
import { Growth } from '../../src/growth.js';
import { native, type CounterName } from '../../src/native.js';
import { StatsReader, type Stats } from '../../src/stats.js';
import { root } from '../support/processes.js';
import { random } from '../support/random.js';

const { layout } = native;

/** The memory of some queue threads, and a reader of it. */
class Memory {
  readonly #slots: BigUint64Array<ArrayBuffer>;
  readonly reader: StatsReader;

  constructor({ threads = 1, buckets = 3 } = {}) {
    this.#slots = new BigUint64Array(threads * layout.stride);
    this.reader = new StatsReader(this.#slots.buffer, buckets);
  }

  add(slot: number, by = 1, thread = 0): this {
    this.#slots[thread * layout.stride + slot]! += BigInt(by);
    return this;
  }

  /** One packet that took so many nanoseconds, put into its slot without the reader's own help. */
  took(nanoseconds: number): this {
    const slot = layout.latencyLowerBounds.findLastIndex((bound) => bound <= nanoseconds);
    return this.add(layout.latency.offset + slot);
  }

  get stats(): Stats {
    return this.reader.stats(this.reader.snapshot());
  }
}

describe('counters', () => {
  test('are all 0 at first', () => {
    const { latency, buckets, batchSizes, received, ...counters } = new Memory().stats;
    assert.equal(received, 0);
    assert.deepEqual(Object.keys(counters).sort(), Object.keys(layout.counters).sort());
    assert.ok(Object.values(counters).every((value) => value === 0));
    assert.deepEqual(buckets, [0, 0, 0]);
    assert.equal(batchSizes.length, 65);
    assert.equal(latency.count, 0);
  });

  test('are each read from a slot of their own, all threads together', () => {
    const names = Object.keys(layout.counters) as CounterName[];
    const memory = new Memory({ threads: 3 });
    names.forEach((name, at) => {
      for (const thread of [0, 1, 2]) memory.add(layout.counters[name], at + 1, thread);
    });
    const { stats } = memory;
    names.forEach((name, at) => assert.equal(stats[name], 3 * (at + 1), name));
  });

  test('of packets received are the sum of what they were decided to be', () => {
    const { owned, foreign, unknown, malformed, fixups } = layout.counters;
    const memory = new Memory();
    [owned, foreign, unknown, malformed, fixups].forEach((slot, at) => memory.add(slot, 10 ** at));
    assert.equal(memory.stats.received, 1111);
  });

  test('are numbers beyond 32 bits', () => {
    const memory = new Memory().add(layout.counters.owned, 2 ** 40 + 1);
    assert.equal(memory.stats.owned, 2 ** 40 + 1);
  });

  test('count packets by bucket, as many as there are', () => {
    const memory = new Memory({ threads: 2, buckets: 1023 });
    memory.add(layout.buckets.offset + 1022, 5, 0).add(layout.buckets.offset + 1022, 6, 1);
    assert.equal(memory.stats.buckets.length, 1023);
    assert.equal(memory.stats.buckets[1022], 11);
  });

  test('count batches by size', () => {
    const { batchSizes } = new Memory().add(layout.batchSizes.offset + 64, 2).stats;
    assert.equal(batchSizes[64], 2);
    assert.equal(batchSizes.length, 65);
  });
});

describe('growth', () => {
  test('is the difference, but for the receive buffer', () => {
    const memory = new Memory()
      .add(layout.counters.owned, 10)
      .add(layout.counters.receiveBuffer, 4096)
      .took(5);
    const before = memory.reader.snapshot();
    memory
      .add(layout.counters.owned, 3)
      .add(layout.buckets.offset + 1, 2)
      .took(7);
    const growth = memory.reader.stats(memory.reader.snapshot(), before);
    assert.equal(growth.owned, 3);
    assert.deepEqual(growth.buckets, [0, 2, 0]);
    assert.equal(growth.receiveBuffer, 4096);
    assert.equal(growth.latency.count, 1);
    assert.equal(growth.latency.percentile(50), 7);
  });

  test('leaves an earlier reading as it was', () => {
    const memory = new Memory().add(layout.counters.owned);
    const { stats } = memory;
    memory.add(layout.counters.owned);
    assert.equal(stats.owned, 1);
    assert.equal(memory.stats.owned, 2);
  });
});

describe('latency', () => {
  test('of nothing is 0', () => {
    for (const percent of [0, 50, 100])
      assert.equal(new Memory().stats.latency.percentile(percent), 0);
  });

  test('below 16 ns is exact', () => {
    const memory = new Memory();
    for (let value = 1; value <= 10; value += 1) memory.took(value);
    const { latency } = memory.stats;
    assert.equal(latency.count, 10);
    const ranks = [0, 1, 10, 10.1, 50, 90, 91, 99.99, 100];
    assert.deepEqual(
      ranks.map((percent) => latency.percentile(percent)),
      [1, 1, 1, 2, 5, 9, 10, 10, 10],
    );
  });

  test('is not exceeded by so many packets, and at most an eighth too high', () => {
    const some = random('latency');
    const memory = new Memory();
    const values = Array.from({ length: 2000 }, () =>
      Math.floor(2 ** (35 * (some.u32() / 2 ** 32))),
    );
    for (const value of values) memory.took(value);
    values.sort((a, b) => a - b);
    const { latency } = memory.stats;
    for (const percent of [0.1, 1, 10, 25, 50, 75, 90, 99, 99.9, 100]) {
      const exact = values[Math.ceil((percent / 100) * values.length) - 1]!;
      const reported = latency.percentile(percent);
      assert.ok(
        reported >= exact && reported <= exact * 1.125,
        `${percent}: ${reported} for ${exact}`,
      );
    }
  });

  test('outside of 0 to 100 percent is that of the nearer end', () => {
    const { latency } = new Memory().took(3).took(9).stats;
    assert.deepEqual([latency.percentile(-5), latency.percentile(500)], [3, 9]);
  });

  test('is asked for by a number', () => {
    for (const percent of ['x', '99', NaN, undefined])
      for (const { latency } of [new Memory().stats, new Memory().took(3).stats])
        assert.throws(() => latency.percentile(percent as number), { code: 'ERR_INVALID_OPTION' });
  });

  test('beyond the last slot is its least', () => {
    const last = layout.latencyLowerBounds.at(-1)!;
    assert.equal(new Memory().took(Number.MAX_SAFE_INTEGER).stats.latency.percentile(50), last);
  });

  test('is readable as JSON', () => {
    const { latency } = new Memory().took(3).took(9).stats;
    assert.deepEqual(JSON.parse(JSON.stringify(latency)), {
      count: 2,
      p50: 3,
      p90: 9,
      p99: 9,
      max: 9,
    });
  });
});

test('the growth of counts is iterated where intrinsics are frozen', () => {
  const script = `import(${JSON.stringify(path.join(root, 'dist/growth.js'))})
    .then(({ Growth }) => new Growth({}, () => undefined).every(1).return())
    .then(({ done }) => console.log(done))`;
  const flags = ['--frozen-intrinsics', '--no-warnings', '-e', script];
  const { stdout, stderr } = spawnSync(process.execPath, flags, { encoding: 'utf8' });
  assert.deepEqual([stdout, stderr], ['true\n', '']);
});

test('an iterator of growth that is dropped is not kept until the end', async (t) => {
  const growth = new Growth(new Memory().reader, () => undefined);
  const dropped = growth.every(1);
  await dropped.next();
  const abort = t.mock.method(AbortController.prototype, 'abort');
  growth.end();
  assert.equal(abort.mock.callCount(), 0);
  assert.deepEqual(await dropped.next(), { done: true, value: undefined });
});
