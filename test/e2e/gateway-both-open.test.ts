/*
 * TCP connections that both ends open at once, through two gateways. To the node that does not own the client, the
 * server's SYN begins a connection of the server's. docs/connections.md has the rule against that.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { range } from '../../src/buckets.js';
import { Hasher } from '../../src/index.js';
import type { Namespace } from '../../src/lab/namespaces.js';
import {
  collectForwarded,
  forwarded,
  forwarders,
  gateways,
  INSIDE,
  openGateway,
  OUTSIDE,
  packetsOf,
  routes,
  type Flow,
} from '../support/gateways.js';
import { inject } from '../support/inject.js';
import { tcp, type Segment } from '../support/packets.js';
import { waitFor } from '../support/processes.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const HASHING = { totalNodes: 2, hashSeed: 7 } as const;

const flows = range(24).map((index): Flow => ({
  ...{ protocol: 'tcp', src: OUTSIDE.address[4](10 + index), sport: 4000 },
  ...{ dst: INSIDE.address[4](10 + index), dport: 4001, size: 0 },
}));
const there = (flow: Flow, more: Partial<Segment>): Buffer =>
  tcp({ ...flow, ...more, ethDst: OUTSIDE.mac });
const back = ({ src, sport, dst, dport }: Flow, more: Partial<Segment>): Buffer =>
  tcp({ src: dst, sport: dport, dst: src, dport: sport, ...more, ethDst: INSIDE.mac });

/** As in docs/connections.md. */
const KNOWN_ONLY = `table inet known-only {
  chain prerouting {
    type filter hook prerouting priority mangle
    iifname "${INSIDE.name}" ct state new drop
  }
}`;

describe('TCP connections that both ends open, through two gateways', { skip }, () => {
  for (const ruled of [false, true]) {
    const title = ruled ? 'with the rule by the client’s node alone' : 'also by the server’s node';
    test(`pass ${title}`, async () => {
      await using lab = await gateways(2);
      const [first, second] = lab.nodes as [Namespace, Namespace];
      await using one = await openGateway(first, 1, HASHING);
      await using two = await openGateway(second, 2, HASHING);
      for (const node of lab.nodes) {
        await collectForwarded(node);
        await routes(node);
        if (ruled) await node.run('nft', ['-f', '-'], KNOWN_ONLY);
      }
      const decided = (): number[] => [one.stats().received, two.stats().received];
      await inject(
        lab.outside,
        OUTSIDE.name,
        flows.map((flow) => there(flow, { seq: 100 })),
      );
      await waitFor('the clients', () => decided().every((count) => count >= flows.length));
      await inject(
        lab.inside,
        INSIDE.name,
        flows.map((flow) => back(flow, { seq: 500 })),
      );
      await waitFor('the servers', () => decided().every((count) => count >= 2 * flows.length));

      const hasher = new Hasher(HASHING);
      const expected = flows.map(({ src, dst }) =>
        ruled ? [hasher.node(src)] : [...new Set([hasher.node(src), hasher.node(dst)])].sort(),
      );
      const answers = async (): Promise<number[][]> => {
        const seen = [await forwarded(first), await forwarded(second)];
        return flows.map((flow) => forwarders(seen, packetsOf(flow)[1]));
      };
      await waitFor(
        'the answers',
        async () => (await answers()).flat().length >= expected.flat().length,
      );
      assert.deepEqual(await answers(), expected);
      assert.equal(
        expected.some((nodes) => nodes.length > 1),
        !ruled,
      );
    });
  }
});
