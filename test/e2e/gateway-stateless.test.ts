/* Two stateless gateways: the source is hashed outside, the destination inside, and no kernel tracks anything. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { range } from '../../src/options/buckets.js';
import { Hasher, type Options } from '../../src/index.js';
import type { Namespace } from '../../src/lab/namespaces.js';
import {
  ask,
  collectForwarded,
  collectFragments,
  facing,
  forwarded,
  forwarders,
  gateways,
  INSIDE,
  openGateway,
  OUTSIDE,
  packetsOf,
  routes,
  serve,
  type Flow,
  type Forwarded,
} from '../support/gateways.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const HASHING = { totalNodes: 2, hashSeed: 0xdeadbeef } as const;
const ENDS = 24;
/** More than an MTU, so that a datagram becomes three fragments. */
const LARGE = 4000;

/** From every outside address to the inside, and from the inside to every outside address. */
const flows: Flow[] = ([4, 6] as const).flatMap((family) =>
  range(ENDS).flatMap((index) => {
    const outer = OUTSIDE.address[family](index + 10);
    const inner = INSIDE.address[family](1 + (index % 3));
    const ports = { sport: 20_000 + index, dport: 7 };
    return [
      { src: outer, dst: inner },
      { src: inner, dst: outer },
    ].flatMap((ends) => [
      { protocol: 'tcp' as const, ...ends, ...ports, size: LARGE },
      { protocol: 'udp' as const, ...ends, ...ports, size: 100 },
      { protocol: 'udp' as const, ...ends, ...ports, sport: ports.sport + 1000, size: LARGE },
    ]);
  }),
);

const isOuter = (address: string): boolean => /^(198\.51\.100|fd0b:)/.test(address);
const addresses = (side: typeof OUTSIDE, count: number, from: number): string[] =>
  ([4, 6] as const).flatMap((family) =>
    range(count).map((index) => side.address[family](from + index)),
  );

const openOn = (node: Namespace, localNode: number, more: Partial<Options> = {}) =>
  openGateway(node, localNode, {
    ...HASHING,
    interfaces: [facing(OUTSIDE), facing(INSIDE, { key: 'destination' })],
    ...more,
  });

async function setUp(node: Namespace): Promise<void> {
  await collectForwarded(node);
  await routes(node);
}

const intersection = (first: Set<string>, second: Set<string>): string[] =>
  [...first].filter((item) => second.has(item));

for (const offload of [[], ['sources']] as const) {
  const title = `each flow passes one stateless gateway, both ways, offload ${offload.join() || 'nothing'}`;
  test(title, { skip }, (t) => bothWays(t, { offload }));
}

/** Every packet in fragments passed one node, with all of them. */
function assertFragments(...seen: readonly [Forwarded, Forwarded]): void {
  for (const { first: begun, later } of seen) {
    assert.deepEqual([...begun].sort(), [...later].sort(), 'first and later fragments');
    assert.ok(begun.size > ENDS, `${begun.size} packets in fragments`);
    assert.ok(
      [...begun].some((packet) => packet.includes(':')),
      'IPv6 in fragments',
    );
  }
  assert.deepEqual(intersection(seen[0].first, seen[1].first), []);
  assert.deepEqual(intersection(seen[0].later, seen[1].later), []);
}

async function bothWays(t: TestContext, more: Partial<Options>): Promise<void> {
  await using lab = await gateways(2);
  const [first, second] = lab.nodes as [Namespace, Namespace];
  await using engine1 = await openOn(first, 1, more);
  await using engine2 = await openOn(second, 2, more);
  for (const node of lab.nodes) await setUp(node);
  const noted = [await collectFragments(first), await collectFragments(second)];
  await serve(lab.inside, addresses(INSIDE, 3, 1));
  await serve(lab.outside, addresses(OUTSIDE, ENDS, 10));
  const fromOutside = flows.filter(({ src }) => isOuter(src));
  const fromInside = flows.filter(({ src }) => !isOuter(src));
  assert.deepEqual(await ask(lab.outside, fromOutside), []);
  assert.deepEqual(await ask(lab.inside, fromInside), []);

  const hasher = new Hasher(HASHING);
  const seen = [await forwarded(first), await forwarded(second)] as const;
  for (const flow of flows) {
    const owner = hasher.node(isOuter(flow.src) ? flow.src : flow.dst);
    for (const packet of packetsOf(flow)) {
      assert.deepEqual(forwarders(seen, packet), [owner], packet);
    }
  }
  if (noted.every(Boolean)) assertFragments(...seen);
  else t.diagnostic('which node forwarded which fragment is not seen: nft is too old');
  for (const node of lab.nodes) {
    const tracked = await node.run('cat', ['/proc/sys/net/netfilter/nf_conntrack_count']);
    assert.equal(Number(tracked), 0, 'connections tracked');
  }
  for (const engine of [engine1, engine2]) {
    const { malformed, received, offloadedOwned, offloadedForeign } = engine.stats();
    assert.equal(malformed, 0);
    const offloaded = offloadedOwned + offloadedForeign;
    if (more.offload!.length === 0) assert.equal(offloaded, 0);
    else assert.ok(offloaded > received, `${received} packets came to the queue`);
  }
}

test(
  'translated flows, of which the outer address stays, pass one stateless gateway',
  { skip },
  async () => {
    await using lab = await gateways(2);
    const [first, second] = lab.nodes as [Namespace, Namespace];
    const shared = OUTSIDE.gateway[4];
    const server = INSIDE.address[4](1);
    for (const node of lab.nodes) {
      await node.run(
        'nft',
        ['-f', '-'],
        `table ip nat {
         chain out { type nat hook postrouting priority srcnat; oifname ${OUTSIDE.name} snat to ${shared}; }
         chain in { type nat hook prerouting priority dstnat; iifname ${OUTSIDE.name} ip daddr ${shared} tcp dport 80 dnat to ${server}:7; }
       }`,
      );
    }
    await using _engine1 = await openOn(first, 1);
    await using _engine2 = await openOn(second, 2);
    for (const node of lab.nodes) await setUp(node);
    await serve(lab.inside, [server]);
    await serve(lab.outside, addresses(OUTSIDE, ENDS, 10));
    const protocols = ['tcp', 'udp'] as const;
    const masqueraded = range(ENDS).flatMap((index) =>
      protocols.map((protocol): Flow => ({
        protocol,
        src: INSIDE.address[4](2),
        dst: OUTSIDE.address[4](index + 10),
        sport: 21_000 + index,
        dport: 7,
        size: 100,
      })),
    );
    const toService = range(ENDS).map((index): Flow => ({
      protocol: 'tcp',
      src: OUTSIDE.address[4](index + 10),
      dst: shared,
      sport: 22_000 + index,
      dport: 80,
      size: 100,
    }));
    assert.deepEqual(await ask(lab.inside, masqueraded), []);
    assert.deepEqual(await ask(lab.outside, toService), []);
    const hasher = new Hasher(HASHING);
    const seen = [await forwarded(first), await forwarded(second)] as const;
    const translated = toService.map((flow) => ({ ...flow, dst: server, dport: 7 }));
    for (const flow of [...masqueraded, ...translated]) {
      const owner = hasher.node(isOuter(flow.src) ? flow.src : flow.dst);
      for (const packet of packetsOf(flow)) {
        assert.deepEqual(forwarders(seen, packet), [owner], packet);
      }
    }
  },
);
