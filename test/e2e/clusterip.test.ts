/* The policy clusterip on real packets: each behaviour that was recorded of the target CLUSTERIP. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Hasher, open, type Engine, type Options } from '../../src/index.js';
import { range } from '../../src/options/buckets.js';
import { Arrivals } from '../support/arrivals.js';
import { CASES, CLUSTER, SOURCE, UNTRACKED_PORT } from '../support/clusterip.js';
import { udp, unreachable } from '../support/packets.js';
import { CLUSTER_MAC, NODE, wire, type Wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const hasher = new Hasher({ policy: 'clusterip', ...CLUSTER });
const ALL = range(CLUSTER.totalNodes).map((bucket) => bucket + 1);
const NOBODY = { host: 0, other: 0 };
const ONE = { host: 1, other: 0 };

/** A node of the cluster, and what gets into it. */
async function nodeOf(lab: Wire, options: Partial<Options> = {}) {
  const arrivals = await Arrivals.of(lab, () => settled(lab, engine));
  const engine = await open({
    interfaces: ['eth0'],
    policy: 'clusterip',
    ...CLUSTER,
    localNode: ALL,
    netns: lab.node.path,
    rules: 'auto',
    ...options,
  });
  return { engine, arrivals, [Symbol.asyncDispose]: () => engine.close() };
}

/** Whether nothing waits in the queue, and all that was taken from it has been answered. */
async function settled({ node }: Wire, engine: Engine): Promise<boolean> {
  const queue = await node.run('cat', ['/proc/net/netfilter/nfnetlink_queue']);
  const { received, latency } = engine.stats();
  return queue.trim().split(/\s+/)[2] === '0' && received === latency.count;
}

const verdict = ({ host, other }: { host: number; other: number }) => ({ host, other });

describe('packets of every kind', { skip }, () => {
  let lab: Wire;
  let engine: Engine;
  let arrivals: Arrivals;
  before(async () => {
    lab = await wire();
    await lab.node.run('ip', ['maddress', 'add', CLUSTER_MAC, 'dev', 'eth0']);
    const notrack = `table ip raw-test { chain first {
      type filter hook prerouting priority raw
      udp dport ${UNTRACKED_PORT} notrack
    }
    }`;
    await lab.node.run('nft', ['-f', '-'], notrack);
    ({ engine, arrivals } = await nodeOf(lab));
  });
  after(async () => {
    await engine.close();
    await lab[Symbol.asyncDispose]();
  });

  for (const { title, frames, node } of CASES) {
    const whose = node === undefined ? 'for nobody' : `for node ${node}`;
    test(`${title}: ${whose}`, async () => {
      await engine.setOwnership({ nodes: node === undefined ? ALL : [node] });
      assert.deepEqual(verdict(await arrivals.of(...frames)), node === undefined ? NOBODY : ONE);
      await engine.setOwnership({ nodes: ALL.filter((other) => other !== node) });
      assert.deepEqual(verdict(await arrivals.of(...frames)), NOBODY);
    });
  }
});

const PORTS = [1, 80, 443, 1024, 5555, 65_535];
const fromPort = (sport: number): Buffer => udp({ src: SOURCE, dst: NODE.ipv4, sport, dport: 9 });
const nodeFrom = (sport: number): number =>
  hasher.node({ src: SOURCE, protocol: 17, sport, dport: 9 });

describe('the connmark', { skip }, () => {
  test('is the node of each packet in state NEW, whoever set it before', async () => {
    await using lab = await wire();
    await using node = await nodeOf(lab);
    const { arrivals } = node;
    const expected = PORTS.map((port) => `${port} ${nodeFrom(port)}`);
    assert.deepEqual((await arrivals.of(...PORTS.map(fromPort))).connmarks, expected);
    const overwrite = `table ip other-hand { chain last {
      type filter hook input priority 200
      ct mark set 77
    }
    }`;
    await lab.node.run('nft', ['-f', '-'], overwrite);
    for (const _ of [1, 2]) {
      assert.deepEqual((await arrivals.of(...PORTS.map(fromPort))).connmarks, expected);
    }
  });

  test('and other bits of the mark stay, under action mark', async () => {
    await using lab = await wire();
    await lab.node.run('ip', ['maddress', 'add', CLUSTER_MAC, 'dev', 'eth0']);
    await using node = await nodeOf(lab, { action: 'mark', localNode: 1 });
    const { arrivals } = node;
    const marks = `table ip other-hand {
      counter foreign { }
      chain first { type filter hook prerouting priority raw; meta mark set 0x08ab0000; }
      chain last { type filter hook input priority 200; meta mark 0x08000000 counter name foreign; }
    }`;
    await lab.node.run('nft', ['-f', '-'], marks.replaceAll('; }', '\n}').replaceAll('; ', '\n'));
    const foreign = PORTS.filter((port) => nodeFrom(port) !== 1);
    const frames = foreign.map((sport) =>
      udp({ src: SOURCE, dst: NODE.ipv4, sport, ethDst: CLUSTER_MAC }),
    );
    const arrived = await arrivals.of(...frames);
    assert.deepEqual(verdict(arrived), { host: 0, other: foreign.length });
    assert.deepEqual(
      arrived.connmarks,
      foreign.map((port) => `${port} ${nodeFrom(port)}`),
    );
    const counted = await lab.node.run('nft', ['list', 'counter', 'ip', 'other-hand', 'foreign']);
    assert.match(counted, new RegExp(`packets ${foreign.length} `));
  });
});

/* The node sends to REMOTE, and an answer, or a router's complaint, comes back. */
const REMOTE = '203.0.113.50';
const ROUTER = '192.0.2.99';
const OWN_PORT = 5000;
const REMOTE_PORT = 6000;
const ANSWER = { src: REMOTE, dst: NODE.ipv4, sport: REMOTE_PORT, dport: OWN_PORT };
const ANSWERS_NODE = hasher.node({
  src: REMOTE,
  protocol: 17,
  sport: REMOTE_PORT,
  dport: OWN_PORT,
});

async function sendFrom({ node }: Wire): Promise<void> {
  const script = `const socket = require('dgram').createSocket('udp4');
    socket.bind(${OWN_PORT}, () => socket.send('x', ${REMOTE_PORT}, '${REMOTE}', () => socket.close()));`;
  await node.run(process.execPath, ['-e', script]);
}

describe('a connection that the node opened', { skip }, () => {
  test('is answered to the node of the answer, and marked by none', async () => {
    await using lab = await wire();
    await using node = await nodeOf(lab, { localNode: ANSWERS_NODE });
    const { engine, arrivals } = node;
    await sendFrom(lab);
    const arrived = await arrivals.of(udp(ANSWER));
    assert.deepEqual(verdict(arrived), ONE);
    assert.deepEqual(arrived.connmarks, [`${REMOTE_PORT} 0`]);
    await engine.setOwnership({ nodes: ALL.filter((node) => node !== ANSWERS_NODE) });
    assert.deepEqual(verdict(await arrivals.of(udp(ANSWER))), NOBODY);
  });

  const complaint = (ethDst: string): Buffer =>
    unreachable(udp({ src: ANSWER.dst, dst: REMOTE, sport: OWN_PORT, dport: REMOTE_PORT }), {
      src: ROUTER,
      dst: NODE.ipv4,
      ethDst,
    });

  test("has its ICMP errors at the answers' node alone", async () => {
    await using lab = await wire();
    await lab.node.run('ip', ['maddress', 'add', CLUSTER_MAC, 'dev', 'eth0']);
    assert.notEqual(hasher.node(ROUTER), ANSWERS_NODE);
    await using node = await nodeOf(lab, { localNode: ANSWERS_NODE });
    const { engine, arrivals } = node;
    await sendFrom(lab);
    assert.deepEqual(verdict(await arrivals.of(complaint(CLUSTER_MAC))), ONE);
    await engine.setOwnership({ nodes: ALL.filter((node) => node !== ANSWERS_NODE) });
    assert.deepEqual(verdict(await arrivals.of(complaint(CLUSTER_MAC))), NOBODY);
  });

  test('strictly has its ICMP errors at every node, and in their multicast frame', async () => {
    await using lab = await wire();
    await lab.node.run('ip', ['maddress', 'add', CLUSTER_MAC, 'dev', 'eth0']);
    await using node = await nodeOf(lab, { strict: true });
    const { engine, arrivals } = node;
    await sendFrom(lab);
    for (const nodes of [ALL, [hasher.node(ROUTER)], []]) {
      await engine.setOwnership({ nodes });
      assert.deepEqual(verdict(await arrivals.of(complaint(CLUSTER_MAC))), { host: 0, other: 1 });
      assert.deepEqual(verdict(await arrivals.of(complaint(NODE.mac))), ONE);
    }
  });

  test('an ICMP error about no connection is for nobody', async () => {
    await using lab = await wire();
    for (const strict of [false, true]) {
      await using node = await nodeOf(lab, { strict });
      const { engine, arrivals } = node;
      assert.deepEqual(verdict(await arrivals.of(complaint(NODE.mac))), NOBODY);
      await engine.close();
      await lab.node.run('nft', ['delete', 'table', 'inet', 'arrivals']);
    }
  });
});

describe('local nodes', { skip }, () => {
  const shares: readonly [string, Partial<Options>, number][] = [
    ['none is left', { ownership: { nodes: [] } }, 0],
    ['strictly, one above the total', { localNode: 16, strict: true }, 0],
    ['strictly, the first of none', { totalNodes: 0, localNode: 1, strict: true }, PORTS.length],
    [
      'one of two',
      { totalNodes: 2, localNode: 1 },
      PORTS.filter((port) => half(port) === 1).length,
    ],
  ];
  for (const [title, options, expected] of shares) {
    test(title, async () => {
      await using lab = await wire();
      const share = 'ownership' in options ? { localNode: undefined } : {};
      await using node = await nodeOf(lab, { ...share, ...options } as Partial<Options>);
      const { arrivals } = node;
      const arrived = await arrivals.of(...PORTS.map(fromPort));
      assert.deepEqual(verdict(arrived), { host: expected, other: 0 });
    });
  }
});

function half(sport: number): number {
  const two = new Hasher({ policy: 'clusterip', ...CLUSTER, totalNodes: 2 });
  return two.node({ src: SOURCE, protocol: 17, sport, dport: 9 });
}
