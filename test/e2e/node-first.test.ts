/* What a node sends first from a cluster address, by UDP: to which nodes the answers go. docs/connections.md */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { range } from '../../src/options/buckets.js';
import { Hasher, open, type Options } from '../../src/index.js';
import { collectEvidence, flowsLetIn } from '../../src/lab/evidence.js';
import { buildTopology, closeTopology, routeBack, SHARED } from '../../src/lab/topology.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { waitFor } from '../support/processes.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

const HASHING = { totalNodes: 2, hashSeed: 7 } as const;
const PORT = 6000;
const hasher = new Hasher(HASHING);
const owner = hasher.node(SHARED.ipv4);
/** Those that the node that sends does not own. */
const CLIENTS = range(40)
  .map((index) => `10.9.0.${index + 1}`)
  .filter((client) => hasher.node(client) !== owner);

const SEND = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], int(sys.argv[2])))
for client in sys.argv[4:]: s.sendto(b'first', (client, int(sys.argv[3])))
`;

const answers = CLIENTS.map((src) =>
  udp({ src, sport: PORT, dst: SHARED.ipv4, dport: SHARED.port, ethDst: SHARED.mac }),
);

/** How many answers got in, on the node that had sent and on the clients' own. */
async function letIn(more: Partial<Options>): Promise<[sender: number, other: number]> {
  const topology = await buildTopology(2);
  const { nodes, clients } = topology;
  try {
    const engines = await Promise.all(
      nodes.map(async (node, index) => {
        await collectEvidence(node);
        const eth0 = { name: 'eth0', addresses: [`${SHARED.ipv4}/24`], mac: SHARED.mac };
        const at = { interfaces: [eth0], localNode: index + 1, netns: node.path };
        return open({ ...HASHING, ...at, rules: 'auto', ...more });
      }),
    );
    const sender = nodes[owner - 1]!;
    await routeBack(sender).catch(() => undefined); // it has no IPv6 here
    const line = [SHARED.ipv4, `${SHARED.port}`, `${PORT}`, ...CLIENTS];
    await sender.run('python3', ['-c', SEND, ...line]);
    await inject(clients, 'eth0', answers);
    const decided = (): boolean =>
      engines.every((engine) => engine.stats().received >= CLIENTS.length);
    await waitFor('every answer', decided);
    await Promise.all(engines.map((engine) => engine.close()));
    return [(await flowsLetIn(sender)).size, (await flowsLetIn(nodes[2 - owner]!)).size];
  } finally {
    await closeTopology(topology);
  }
}

describe('the answers to what the owner of a cluster address sends first', { skip }, () => {
  test('are two nodes’: its own, and the clients’', async () => {
    assert.deepEqual(await letIn({}), [CLIENTS.length, CLIENTS.length]);
  });

  test('are the clients’ node’s alone without connection tracking', async () => {
    assert.deepEqual(await letIn({ conntrack: 'off' }), [0, CLIENTS.length]);
  });
});
