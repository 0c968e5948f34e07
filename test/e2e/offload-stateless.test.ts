/* What the kernel decides by itself where no connection is followed: each packet, as the engine would. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { range } from '../../src/buckets.js';
import { Hasher, open, type Engine } from '../../src/index.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { waitFor } from '../support/processes.js';
import { CLUSTER, CLUSTER_MAC, NODE, wire, type Wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const HASHING = { totalNodes: 2, hashSeed: 7 } as const;

/** What comes behind our rules, and how. */
const ARRIVALS = `table inet seen {
  counter passed { }
  counter host { }
  counter marked { }
  counter user { }
  chain behind {
    type filter hook prerouting priority 100
    meta l4proto udp meta pkttype host counter name host
    meta l4proto udp meta mark 0xffff counter name marked
    meta l4proto udp meta mark 0x1 counter name user
    meta l4proto udp meta mark & 0xffff0000 == 0 counter name passed
  }
}`;

/** A mark that a rule of the user's sets, with bits that are ours. */
const USER = `table inet user {
  chain before { type filter hook prerouting priority -300; meta l4proto udp meta mark set 0x40aa0001; }
}`;

async function arrivals({ node }: Wire): Promise<Record<string, number>> {
  const listed = await node.run('nft', ['list', 'counters', 'table', 'inet', 'seen']);
  const counters = listed.matchAll(/counter (\S+) \{\s+packets (\d+)/g);
  return Object.fromEntries([...counters].map(([, name, count]) => [name!, Number(count)]));
}

const decisions = (engine: Engine): number => {
  const { received, offloadedOwned, offloadedForeign } = engine.stats();
  return received + offloadedOwned + offloadedForeign;
};

const arrival = (family: number, at: number): string =>
  family === 4 ? `10.1.0.${at + 30}` : `fd01::${at + 30}`;

describe('offload of sources without conntrack', { skip }, () => {
  for (const action of ['drop', 'mark'] as const) {
    for (const rules of ['auto', 'xtables'] as const) {
      test(`by ${action} and rules ${rules}, decides as the queue did`, async () => {
        await using lab = await wire();
        await lab.node.run('nft', ['-f', '-'], ARRIVALS);
        await using engine = await open({
          ...HASHING,
          interfaces: ['eth0'],
          ownership: { nodes: [1] },
          conntrack: 'off',
          offload: ['sources'],
          netns: lab.node.path,
          action,
          rules,
        });
        const hasher = new Hasher(HASHING);
        const sources = [4, 6].flatMap((family) => range(20).map((at) => arrival(family, at)));
        const owned = sources.filter((src) => hasher.node(src) === 1).length;
        const passing = action === 'mark' ? sources.length : owned;
        const marked = action === 'mark' ? owned : 0;
        const frames = sources.map((src) =>
          udp({ src, dst: src.includes(':') ? CLUSTER.ipv6 : CLUSTER.ipv4, ethDst: CLUSTER_MAC }),
        );
        for (const round of [1, 2, 3]) {
          await inject(lab.sender, 'eth0', frames);
          await waitFor('the decisions', () => decisions(engine) === round * sources.length);
          const passed = round * passing;
          await waitFor('them to pass', async () => (await arrivals(lab))['passed']! >= passed);
          const all = { passed, host: passed, marked: round * marked, user: 0 };
          assert.deepEqual(await arrivals(lab), all);
          assert.equal(engine.stats().received, sources.length);
        }
        const { offloadedOwned, offloadedForeign } = engine.stats();
        assert.deepEqual([offloadedOwned, offloadedForeign], [2 * owned, 2 * (40 - owned)]);
      });
    }
  }

  test('leaves what has a mark of the user’s to the queue', async () => {
    await using lab = await wire();
    await lab.node.run('nft', ['-f', '-'], ARRIVALS);
    await lab.node.run('nft', ['-f', '-'], USER);
    await using engine = await open({
      ...HASHING,
      interfaces: ['eth0'],
      ownership: { nodes: [1, 2] },
      conntrack: 'off',
      offload: ['sources'],
      netns: lab.node.path,
      rules: 'auto',
    });
    const frames = range(20).map((at) => udp({ src: arrival(4, at), dst: NODE.ipv4 }));
    for (const round of [1, 2]) {
      await inject(lab.sender, 'eth0', frames);
      await waitFor('all to pass', async () => (await arrivals(lab))['user'] === round * 20);
      assert.equal(engine.stats().received, round * 20);
    }
  });
});
