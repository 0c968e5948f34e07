/* The addon in worker threads: each has its own, and may end at any moment. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { Hasher } from '../../src/hash.js';
import { thread } from './lab.js';

describe('hashers in worker threads', () => {
  test('agree with one here, and can be terminated amid their work', async () => {
    const seeds = [1, 2, 3];
    const workers = seeds.map((seed) => thread('hasher-child.ts', [String(seed)]));
    const firsts = await Promise.all(workers.map((worker) => once(worker, 'message')));
    const addresses = Uint32Array.from({ length: 1000 }, (_, at) => at);
    seeds.forEach((hashSeed, at) => {
      const hasher = new Hasher({ hashSeed, buckets: 1023 });
      assert.deepEqual(firsts[at]![0], hasher.bucketsIpv4(addresses));
    });
    assert.deepEqual(await Promise.all(workers.map((worker) => worker.terminate())), [1, 1, 1]);
    assert.equal(new Hasher({ hashSeed: 0, totalNodes: 1 }).node('10.0.0.1'), 1);
  });
});
