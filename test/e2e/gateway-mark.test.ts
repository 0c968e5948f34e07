/*
 * The man page's own example, two gateways between two networks: what is theirs carries the mark 0xffff, and its
 * rules drop the rest. ARP, neighbour discovery, MACs and the marking are this package's setup.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { range } from '../../src/options/buckets.js';
import { Hasher } from '../../src/index.js';
import type { Namespace } from '../../src/lab/namespaces.js';
import {
  ask,
  collectForwarded,
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
} from '../support/gateways.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const HASHING = { totalNodes: 2, hashSeed: 0xdeadbeef } as const;
const ENDS = 24;

const outer = (family: 4 | 6, index: number): string => OUTSIDE.address[family](10 + index);
const inner = (family: 4 | 6, index: number): string => INSIDE.address[family](10 + index);

/** Between every pair of ends, begun by either. */
const flows: Flow[] = ([4, 6] as const).flatMap((family) =>
  range(ENDS).flatMap((index) => {
    const [out, into] = [outer(family, index), inner(family, index)];
    return (['tcp', 'udp'] as const).flatMap((protocol) => [
      { protocol, src: out, dst: into, sport: 20_000, dport: 7, size: 4000 },
      { protocol, src: into, dst: out, sport: 21_000, dport: 7, size: 4000 },
    ]);
  }),
);

/** As the man page writes them; with conntrack mark, the mark still has the bucket's bits where xtables queues. */
const drops = (conntrack: string): string => {
  const mark = conntrack === 'mark' ? '0xffff/0xffff' : '0xffff';
  return `*mangle
-A PREROUTING -i eth1 -m mark ! --mark ${mark} -j DROP
-A PREROUTING -i eth2 -m mark ! --mark ${mark} -j DROP
COMMIT
`;
};

const openOn = (node: Namespace, localNode: number, conntrack: 'netlink' | 'mark') =>
  openGateway(node, localNode, { ...HASHING, action: 'mark', conntrack });

async function setUp(node: Namespace, conntrack: 'netlink' | 'mark'): Promise<void> {
  await collectForwarded(node);
  for (const program of ['iptables-restore', 'ip6tables-restore']) {
    await node.run(program, ['--noflush'], drops(conntrack));
  }
  await routes(node);
}

describe("the man page's gateways", { skip }, () => {
  for (const conntrack of ['netlink', 'mark'] as const) {
    test(`one of them forwards each flow, both ways: conntrack ${conntrack}`, async () => {
      await using lab = await gateways(2);
      const [first, second] = lab.nodes as [Namespace, Namespace];
      await using _first = await openOn(first, 1, conntrack);
      await using _second = await openOn(second, 2, conntrack);
      for (const node of lab.nodes) await setUp(node, conntrack);
      const ends = ([4, 6] as const).flatMap((family) =>
        range(ENDS).map((index) => [outer(family, index), inner(family, index)] as const),
      );
      await serve(
        lab.outside,
        ends.map(([out]) => out),
      );
      await serve(
        lab.inside,
        ends.map(([, into]) => into),
      );
      const outside = new Set(ends.map(([out]) => out));
      const fromOutside = flows.filter(({ src }) => outside.has(src));
      const fromInside = flows.filter(({ src }) => !outside.has(src));
      assert.deepEqual(await ask(lab.outside, fromOutside), []);
      assert.deepEqual(await ask(lab.inside, fromInside), []);

      const hasher = new Hasher(HASHING);
      const seen = [await forwarded(first), await forwarded(second)];
      const by = (packet: string): number[] => forwarders(seen, packet);
      let twice = 0;
      for (const flow of flows) {
        const [there, back] = packetsOf(flow);
        const owner = hasher.node(flow.src);
        assert.deepEqual(by(there), [owner], there);
        if (flow.protocol === 'tcp') assert.deepEqual(by(back), [owner], back);
        // To the node that dropped the request an answer by UDP is a new flow, of the server's: docs/connections.md.
        const owners = [...new Set([owner, hasher.node(flow.dst)])].sort();
        if (flow.protocol === 'udp') assert.deepEqual(by(back), owners, back);
        if (by(back).length === 2) twice++;
      }
      assert.ok(twice > 0 && twice < flows.length / 2, `${twice} answers passed twice`);
    });
  }
});
