/* Where in the connmark the rules put a connection's bucket: at the option's bits, from the lowest to the highest. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { range } from '../../src/options/buckets.js';
import { findConnection, Hasher, open } from '../../src/index.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { waitFor } from '../support/processes.js';
import { NODE, wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

const HASHING = { totalNodes: 3, hashSeed: 5 } as const;
const FLOWS = range(60).flatMap((index) => [
  { src: `10.9.0.${index + 1}`, dst: NODE.ipv4 },
  { src: `fd09:${index}::1`, dst: NODE.ipv6 },
]);

describe('the bucket in the connmark', { skip }, () => {
  for (const bucket of [0x3ff, 0x3ff0, 0xffc0_0000]) {
    for (const more of [{ conntrack: 'mark' }, { offload: ['flows'] }] as const) {
      test(`is at 0x${bucket.toString(16)}, by ${JSON.stringify(more)}`, async () => {
        await using at = await wire();
        await using engine = await open({
          ...HASHING,
          ...more,
          ownership: { nodes: [1, 2, 3] },
          interfaces: ['eth0'],
          marks: {
            owned: { value: 0x1_0000, mask: 0x1_0000 },
            multicast: 0x2_0000,
            decided: 0x4_0000,
            direct: 0x8_0000,
            bucket,
          },
          netns: at.node.path,
          rules: 'auto',
        });
        await inject(at.sender, 'eth0', FLOWS.map(udp));
        const decided = (): number => {
          const { owned, offloadedOwned } = engine.stats();
          return owned + offloadedOwned;
        };
        await waitFor('all are decided', () => decided() === FLOWS.length);
        const hasher = new Hasher(HASHING);
        const lowest = bucket & -bucket;
        for (const flow of FLOWS) {
          const tuple = { ...flow, protocol: 17, sport: 1024, dport: 9 };
          const mark = (await findConnection(tuple, at.node.path))!.mark;
          assert.equal(((mark & bucket) / lowest) >>> 0, hasher.bucket(flow.src) + 1, flow.src);
        }
      });
    }
  }
});
