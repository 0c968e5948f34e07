/*
 * Connections through two gateways that the node which does not own their client takes for new ones of the server's: TCP
 * that both ends open at once, and the data of active FTP, as that node has not seen what the client asked for.
 * docs/connections.md has the rules against both.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import path from 'node:path';
import { describe, test } from 'node:test';
import { range } from '../../src/options/buckets.js';
import { Hasher, type Options } from '../../src/index.js';
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
import { root, waitFor } from '../support/processes.js';

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

const FTP = path.join(root, 'test/support/ftp.mjs');
const PORT = 30_000;

/** A client outside, and the server inside that it asks. */
const pairs = range(24).map((index) => ({
  src: OUTSIDE.address[4](10 + index),
  dst: INSIDE.address[4](10 + index),
  port: PORT,
}));

/** The data connections, which the servers open. */
const data = pairs.map(({ src, dst, port }): Flow => ({
  ...{ protocol: 'tcp', src: dst, sport: 20, dst: src, dport: port, size: 8 },
}));

const HELPER = '*raw\n-A PREROUTING -p tcp --dport 21 -j CT --helper ftp\nCOMMIT\n';

/** As in docs/connections.md. */
const EXPECTED_ONLY = `table inet ftp-data {
  chain prerouting {
    type filter hook prerouting priority mangle
    tcp sport 20 ct state new drop
  }
}`;

async function setUp(node: Namespace): Promise<void> {
  await collectForwarded(node);
  await node.run('iptables-restore', ['--noflush', '-w', '10'], HELPER);
  await routes(node);
}

describe('active FTP through two gateways', { skip }, () => {
  const ways: Pick<Options, 'conntrack' | 'offload'>[] = [
    { conntrack: 'auto' },
    { conntrack: 'mark' },
    { offload: ['flows', 'sources'] },
  ];
  for (const way of ways) {
    for (const ruled of [false, true]) {
      const title = ruled ? 'with the rule: the client’s node alone' : 'also the server’s node';
      test(`${title} passes the data, ${JSON.stringify(way)}`, async () => {
        await using lab = await gateways(2);
        const [first, second] = lab.nodes as [Namespace, Namespace];
        await using _first = await openGateway(first, 1, { ...HASHING, ...way });
        await using _second = await openGateway(second, 2, { ...HASHING, ...way });
        for (const node of lab.nodes) {
          await setUp(node);
          if (ruled) await node.run('nft', ['-f', '-'], EXPECTED_ONLY);
        }
        const servers = pairs.map(({ dst }) => dst);
        const server = lab.inside.spawn(process.execPath, [FTP, 'server', ...servers], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        await once(server.stdout!, 'data');
        const asked = await lab.outside.run(process.execPath, [
          FTP,
          'client',
          JSON.stringify(pairs),
        ]);
        assert.deepEqual(JSON.parse(asked), [], 'no client was left without data');

        const hasher = new Hasher(HASHING);
        const seen = [await forwarded(first), await forwarded(second)];
        let twice = 0;
        for (const flow of data) {
          const client = hasher.node(flow.dst);
          const expected = ruled ? [client] : [...new Set([client, hasher.node(flow.src)])].sort();
          if (expected.length > 1) twice++;
          for (const packet of packetsOf(flow)) {
            assert.deepEqual(forwarders(seen, packet), expected, packet);
          }
        }
        assert.equal(twice > 0, !ruled);
      });
    }
  }
});
