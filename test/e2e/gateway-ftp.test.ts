/*
 * Active FTP through two gateways. The node that does not own the client has not seen what the client asked for: to
 * it, the server's data connection is a new one, of the server's. docs/connections.md has the rule against that.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import path from 'node:path';
import { describe, test } from 'node:test';
import { range } from '../../src/buckets.js';
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
import { root } from '../support/processes.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const FTP = path.join(root, 'test/support/ftp.mjs');
const HASHING = { totalNodes: 2, hashSeed: 7 } as const;
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
