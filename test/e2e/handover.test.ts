/* Buckets go from node to node under traffic, and no packet gets in on two of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { open, type Engine } from '../../src/index.js';
import { collectEvidence, flowsLetIn } from '../../src/lab/evidence.js';
import { buildTopology, closeTopology, SHARED } from '../../src/lab/topology.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { waitFor } from '../support/processes.js';
import { owningAll, wire } from '../support/wire.js';

const BUCKETS = 64;
const PACKETS = 60_000;
const RATE = 80_000;
const SOURCES = 256;

/** The address and the MAC are put on the interface, so that what is owned gets in. */
const SHARED_INTERFACE = { name: 'eth0', addresses: [`${SHARED.ipv4}/24`], mac: SHARED.mac };

/** No route leads back to the senders. Ubuntu has 2 here, which every network namespace inherits. */
const UNROUTED = { 'ipv4/conf/all/rp_filter': 0, 'ipv4/conf/eth0/rp_filter': 0 };

const skip = process.getuid?.() === 0 ? false : 'needs root';
const all = Array.from({ length: BUCKETS }, (_, bucket) => bucket);

/** Every packet has an address and port of its own, by which the evidence tells it. */
const frames = Array.from({ length: PACKETS }, (_, index) =>
  udp({
    src: `10.9.0.${index % SOURCES}`,
    dst: SHARED.ipv4,
    sport: 1 + Math.floor(index / SOURCES),
    dport: SHARED.port,
    ethDst: SHARED.mac,
  }),
);

/** Takes everything from one node and gives it to the other, over and over. */
async function handOver(engines: readonly [Engine, Engine], until: () => boolean): Promise<number> {
  let [owner, other] = engines;
  let handovers = 0;
  while (!until()) {
    const before = other.stats().received;
    await owner.setOwnership({ buckets: [] });
    await other.setOwnership({ buckets: all });
    [owner, other] = [other, owner];
    handovers += 1;
    const moved = (): boolean => owner.stats().received > before + 100 || until();
    await waitFor('traffic after a handover', moved);
  }
  return handovers;
}

test('no packet is owned by two nodes while buckets move', { skip }, async () => {
  const topology = await buildTopology(2);
  try {
    await Promise.all(topology.nodes.map((node) => node.sysctl(UNROUTED)));
    await Promise.all(topology.nodes.map(collectEvidence));
    const engines = (await Promise.all(
      topology.nodes.map((node, index) =>
        open({
          interfaces: [SHARED_INTERFACE],
          hashSeed: 7,
          buckets: BUCKETS,
          ownership: { buckets: index === 0 ? all : [] },
          netns: node.path,
          rules: 'auto',
        }),
      ),
    )) as [Engine, Engine];
    let sent = false;
    const sending = inject(topology.clients, 'eth0', frames, { rate: RATE }).finally(() => {
      sent = true;
    });
    const handovers = await handOver(engines, () => sent);
    await sending;
    await Promise.all(engines.map((engine) => engine.close()));

    const [first, second] = (await Promise.all(topology.nodes.map(flowsLetIn))) as [
      Set<string>,
      Set<string>,
    ];
    const twice = [...first].filter((packet) => second.has(packet));
    assert.deepEqual(twice, []);
    assert.ok(handovers >= 20, `only ${handovers} handovers`);
    for (const got of [first, second]) assert.ok(got.size > PACKETS / 10, `${got.size} packets`);
    const owned = engines.map((engine) => engine.stats().owned);
    assert.deepEqual(owned, [first.size, second.size], 'what the engine counted and what got in');
    /* A packet that comes just when nobody owns its bucket is dropped; those must be few. */
    assert.ok(first.size + second.size > PACKETS / 2);
  } finally {
    await closeTopology(topology);
  }
});

test(
  'the time of what is owned at the start counts from the call of open()',
  { skip },
  async () => {
    await using at = await wire();
    const called = performance.now();
    const { localNode: _, ...options } = owningAll(at.node);
    const ownership = { nodes: [1], validFor: 60_000 };
    await using engine = await open({ ...options, ownership });
    const taken = performance.now() - called;
    assert.ok(engine.ownership.validFor <= 60_000 - taken + 50, `of ${taken} ms`);
  },
);

test('after the deadline nothing gets in, until the ownership is renewed', { skip }, async () => {
  const topology = await buildTopology(1);
  try {
    const [node] = topology.nodes;
    await using engine = await open({
      interfaces: [SHARED_INTERFACE],
      hashSeed: 7,
      buckets: BUCKETS,
      ownership: { buckets: all, validFor: 60_000 },
      netns: node!.path,
      rules: 'auto',
    });
    const sendSome = async (): Promise<[owned: number, foreign: number]> => {
      const before = engine.stats();
      await inject(topology.clients, 'eth0', frames.slice(0, 100));
      const count = (): number => engine.stats().received - before.received;
      await waitFor('100 packets', () => count() === 100);
      const { owned, foreign } = engine.stats();
      return [owned - before.owned, foreign - before.foreign];
    };
    assert.deepEqual(await sendSome(), [100, 0]);
    await engine.setOwnership({ buckets: all, validFor: 1 });
    await waitFor('the deadline', () => engine.ownership.validFor === 0);
    assert.deepEqual(await sendSome(), [0, 100]);
    assert.equal(engine.ownership.buckets.length, BUCKETS, 'the set itself stays');
    await engine.setOwnership({ buckets: all });
    assert.deepEqual(await sendSome(), [100, 0]);
  } finally {
    await closeTopology(topology);
  }
});
