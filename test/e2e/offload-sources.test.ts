/* What the kernel decides by a packet's own address: each packet, as the engine would. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { range } from '../../src/options/buckets.js';
import { Hasher, open, type Engine, type Options, type Stats } from '../../src/index.js';
import { inject } from '../support/inject.js';
import { icmp, ip, udp } from '../support/packets.js';
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
    meta l4proto udp meta mark & 0x1c00ffff == 0x1 counter name user
    meta l4proto udp meta mark & 0xffff0000 == 0 counter name passed
  }
}`;

const DISCOVERY = `table inet seen {
  counter groups { }
  counter neighbours { }
  counter datagrams { }
  chain behind {
    type filter hook prerouting priority 100
    ip protocol igmp counter name groups
    icmpv6 type nd-neighbor-solicit ip6 saddr fd01::30-fd01::39 counter name neighbours
    meta l4proto udp counter name datagrams
  }
}`;

const TARGET = 'fd0100000000000000000000000000ff';

/** Marks that a rule of the user's sets, with bits that are ours; of the packet, or of the connection as well. */
const USER = {
  off: `table inet user {
  chain before { type filter hook prerouting priority -300; meta l4proto udp meta mark set 0x40000001; }
}`,
  auto: `table inet user {
  chain before { type filter hook prerouting priority -160; meta l4proto udp meta mark set 0x40aa0001 ct mark set 1; }
}`,
};

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

/** Addresses that differ where policy `xt_cluster` looks, too. */
const remote = (family: number, at: number): string =>
  family === 4 ? `10.64.${at}.7` : `2001:${(at + 0x100).toString(16)}::7`;

const datagrams = (sources: readonly string[]): Buffer[] =>
  sources.map((src) =>
    udp({ src, dst: src.includes(':') ? CLUSTER.ipv6 : CLUSTER.ipv4, ethDst: CLUSTER_MAC }),
  );

const offloading = (
  { node }: Wire,
  more: Pick<Options, 'hashSeed' | 'ownership'> & Partial<Options>,
): Options => ({
  interfaces: ['eth0'],
  offload: ['sources'],
  netns: node.path,
  rules: 'auto',
  ...more,
});

/** What comes of a stranger's packets: all of them, and those that no bit was set in. */
const STRANGERS = `table inet seen {
  counter entered { }
  counter clean { }
  chain before {
    type filter hook prerouting priority -160
    iifname "mgmt0" meta l4proto udp ct mark set ip saddr map { 10.1.0.1 : 0x10000, 10.1.0.2 : 0x20000 }
  }
  chain behind {
    type filter hook prerouting priority 100
    iifname "mgmt0" meta l4proto udp counter name entered
    iifname "mgmt0" meta l4proto udp meta mark 0 counter name clean
  }
}`;

/** In the place of the wire another interface, of the same index. */
async function replaceWire({ sender, node }: Wire): Promise<void> {
  const [{ ifindex }] = JSON.parse(await node.run('ip', ['-j', 'link', 'show', 'eth0'])) as [
    { ifindex: number },
  ];
  await node.ip(
    'link delete eth0',
    `link add mgmt0 index ${ifindex} address ${NODE.mac} type veth peer name eth0 netns ${sender.pid}`,
    'link set mgmt0 up',
  );
  await sender.ip('link set eth0 up');
}

describe('offload of sources', { skip }, () => {
  for (const rules of ['auto', 'xtables'] as const) {
    for (const action of ['drop', 'mark'] as const) {
      test(`by ${action} and rules ${rules}, leaves alone what enters by another interface of the same index`, async () => {
        await using lab = await wire();
        await using engine = await open(
          offloading(lab, { ...HASHING, ownership: { nodes: [1] }, action, rules }),
        );
        await replaceWire(lab);
        await lab.node.run('nft', ['-f', '-'], STRANGERS);
        const known = ['10.1.0.1', '10.1.0.2'];
        const hasher = new Hasher(HASHING);
        const unknown = range(20).map((at) => arrival(4, at));
        assert.deepEqual(new Set(unknown.map((src) => hasher.node(src))), new Set([1, 2]));
        for (const validFor of [Infinity, 60_000]) {
          await engine.setOwnership({ nodes: [1], validFor });
          const before = await arrivals(lab);
          const frames = datagrams([...known, ...unknown]);
          await inject(lab.sender, 'eth0', frames);
          await waitFor(
            'all to pass',
            async () => (await arrivals(lab))['entered'] === before['entered']! + frames.length,
          );
          assert.equal((await arrivals(lab))['clean'], before['clean']! + frames.length);
          assert.equal(engine.stats().offloadedForeign, 0);
        }
      });
    }
  }

  test('counts as growth only what the kernel has decided since', async () => {
    await using lab = await wire();
    await lab.node.run('nft', ['-f', '-'], ARRIVALS);
    await using engine = await open(offloading(lab, { ...HASHING, ownership: { nodes: [1, 2] } }));
    await inject(lab.sender, 'eth0', datagrams([arrival(4, 0)]));
    // Not by stats(), which takes over the kernel's counts.
    await waitFor('it to pass', async () => (await arrivals(lab))['passed'] === 1);
    const { value } = (await engine.changes(1).next()) as { value: Stats };
    assert.equal(value.offloadedOwned, 0);
    assert.equal(engine.stats().offloadedOwned, 1);
  });

  test('counts on where somebody resets the counters of nft', async () => {
    await using lab = await wire();
    await lab.node.run('nft', ['-f', '-'], ARRIVALS);
    await using engine = await open(offloading(lab, { ...HASHING, ownership: { nodes: [1, 2] } }));
    for (const expected of [1, 2]) {
      await inject(lab.sender, 'eth0', datagrams([arrival(4, expected)]));
      await waitFor('it to pass', async () => (await arrivals(lab))['passed'] === expected);
      assert.equal(engine.stats().offloadedOwned, expected);
      await lab.node.run('nft', ['reset', 'counters', 'table', 'inet', 'nfq-cluster-q0']);
      assert.equal(engine.stats().offloadedOwned, expected);
    }
  });

  for (const conntrack of ['auto', 'off'] as const) {
    for (const action of ['drop', 'mark'] as const) {
      for (const rules of ['auto', 'xtables'] as const) {
        test(`by conntrack ${conntrack}, ${action} and rules ${rules}, decides as the queue would`, async () => {
          await using lab = await wire();
          await lab.node.run('nft', ['-f', '-'], ARRIVALS);
          await using engine = await open(
            offloading(lab, { ...HASHING, ownership: { nodes: [1] }, conntrack, action, rules }),
          );
          const hasher = new Hasher(HASHING);
          const sources = [4, 6].flatMap((family) => range(20).map((at) => arrival(family, at)));
          const owned = sources.filter((src) => hasher.node(src) === 1).length;
          const passing = action === 'mark' ? sources.length : owned;
          const marked = action === 'mark' ? owned : 0;
          const frames = datagrams(sources);
          for (const round of [1, 2, 3]) {
            await inject(lab.sender, 'eth0', frames);
            await waitFor('the decisions', () => decisions(engine) === round * sources.length);
            const passed = round * passing;
            await waitFor('them to pass', async () => (await arrivals(lab))['passed']! >= passed);
            const all = { passed, host: passed, marked: round * marked, user: 0 };
            assert.deepEqual(await arrivals(lab), all);
          }
          const { received, offloadedOwned, offloadedForeign } = engine.stats();
          assert.equal(received, 0);
          assert.deepEqual([offloadedOwned, offloadedForeign], [3 * owned, 3 * (40 - owned)]);
        });
      }
    }

    for (const policy of ['jhash', 'xt_cluster'] as const) {
      test(`by conntrack ${conntrack} and policy ${policy}, hashes as the engine does into 1,023 buckets`, async () => {
        await using lab = await wire();
        const hashing = { policy, hashSeed: 0xfedcba98, buckets: 1023 };
        const hasher = new Hasher(hashing);
        const sources = [4, 6].flatMap((family) => range(200).map((at) => remote(family, at)));
        const mine = new Set(
          sources.filter((_, at) => at % 3 === 0).map((src) => hasher.bucket(src)),
        );
        const all = range(1023);
        const ownerships = [
          { buckets: [...mine] },
          { buckets: all },
          { buckets: all.filter((bucket) => !mine.has(bucket)) },
          { buckets: all, validFor: 60_000 },
          { buckets: [...mine], validFor: 60_000 },
        ];
        await using engine = await open(
          offloading(lab, { ...hashing, ownership: ownerships[0]!, conntrack }),
        );
        const expected = { received: 0, offloadedOwned: 0, offloadedForeign: 0 };
        for (const ownership of ownerships) {
          await engine.setOwnership(ownership);
          await inject(lab.sender, 'eth0', datagrams(sources));
          for (const src of sources) {
            const owned = ownership.buckets.includes(hasher.bucket(src));
            expected[owned ? 'offloadedOwned' : 'offloadedForeign']++;
          }
          const decided = expected.offloadedOwned + expected.offloadedForeign;
          await waitFor('the decisions', () => decisions(engine) === decided);
          const { received, offloadedOwned, offloadedForeign } = engine.stats();
          assert.deepEqual({ received, offloadedOwned, offloadedForeign }, expected);
        }
      });
    }

    test(`by conntrack ${conntrack}, leaves neighbour discovery and IGMP to every node`, async () => {
      await using lab = await wire();
      await lab.node.run('nft', ['-f', '-'], DISCOVERY);
      await using engine = await open(
        offloading(lab, { ...HASHING, conntrack, ownership: { nodes: [] } }),
      );
      const report = Buffer.from([0x16, 0, 0, 0, 224, 0, 0, 9]);
      const solicitation = { 4: [8, 0], 6: [135, 0] } as const;
      const target = Buffer.concat([Buffer.alloc(4), Buffer.from(TARGET, 'hex')]);
      const frames = range(10).flatMap((at) => [
        ip({ src: arrival(4, at), dst: '224.0.0.9' }, 2, report),
        icmp({ src: arrival(6, at), dst: NODE.ipv6, ttl: 255 }, solicitation, target),
        ...datagrams([arrival(4, at), arrival(6, at)]),
      ]);
      await inject(lab.sender, 'eth0', frames);
      await waitFor('all to be decided', () => engine.stats().offloadedForeign === 20);
      await waitFor('the others to pass', async () => {
        const { groups, neighbours } = await arrivals(lab);
        return groups === 10 && neighbours === 10;
      });
      assert.equal((await arrivals(lab))['datagrams'], 0);
    });

    test(`by conntrack ${conntrack}, keeps the user’s marks${conntrack === 'off' ? '' : ', and leaves such connections to the queue'}`, async () => {
      await using lab = await wire();
      await lab.node.run('nft', ['-f', '-'], ARRIVALS);
      await lab.node.run('nft', ['-f', '-'], USER[conntrack]);
      await using engine = await open(
        offloading(lab, { ...HASHING, conntrack, ownership: { nodes: [1, 2] } }),
      );
      const frames = range(20).map((at) => udp({ src: arrival(4, at), dst: NODE.ipv4 }));
      await inject(lab.sender, 'eth0', frames);
      await waitFor('all to pass', async () => (await arrivals(lab))['user'] === 20);
      assert.equal(engine.stats().received, conntrack === 'off' ? 0 : 20);
    });
  }
});
