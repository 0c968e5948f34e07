/* What the kernel decides by itself: that it does, and that it never does so longer or for more than the engine would. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { range } from '../../src/options/buckets.js';
import {
  findConnection,
  Hasher,
  open,
  type Engine,
  type Options,
  type Tuple,
} from '../../src/index.js';
import type { Namespace } from '../../src/lab/namespaces.js';
import { ask, PORT } from '../support/exchange.js';
import { gateway, SERVER, skip, source, type Gateway } from '../support/judged-gateway.js';
import {
  ask as askAll,
  facing,
  gateways,
  INSIDE,
  OUTSIDE,
  routes,
  serve,
  type Flow,
} from '../support/gateways.js';
import { inject } from '../support/inject.js';
import { engineProcess } from '../support/offload-process.js';
import { udp } from '../support/packets.js';
import { cli, waitFor } from '../support/processes.js';
import { counter } from '../support/state.js';

const HASHING = { policy: 'xt_cluster', totalNodes: 2, hashSeed: 7 } as const;
/** What is offloaded, by which rules. */
type Way = Required<Pick<Options, 'offload' | 'rules'>> & Partial<Pick<Options, 'interfaces'>>;
const FLOWS: Way = { offload: ['flows'], rules: 'auto' };
const SOURCES_TOO: Way = { offload: ['sources'], rules: 'auto' };
const FOLLOWING: readonly Way[] = [FLOWS, SOURCES_TOO, { ...SOURCES_TOO, rules: 'xtables' }];
/** By sources alone, with no connection tracked. */
const STATELESS: readonly Way[] = (['auto', 'xtables'] as const).map((rules) => ({
  offload: ['sources'],
  rules,
  interfaces: ['outside', { name: 'inside', key: 'destination' }],
}));
const COUNT = 24;
const SOURCES = range(COUNT).map((index) => source(4, index));

const optionsOn = (at: Gateway, way: Way, more: Partial<Options> = {}): Options => ({
  ...HASHING,
  ownership: { nodes: [1, 2] },
  interfaces: ['outside', 'inside'],
  netns: at.gateway.path,
  ...way,
  ...more,
});

/** Datagrams of the client that the gateway forwards. */
async function watch(node: Namespace): Promise<() => Promise<number>> {
  await node.run('nft', [
    'add table inet seen; add counter inet seen passed; add chain inet seen c { type filter hook forward priority 0; }; add rule inet seen c iifname outside meta l4proto udp counter name passed',
  ]);
  return () => counter(node, 'seen', 'passed');
}

/** Datagrams of established connections: each source has one of a fixed port. */
class Talk {
  readonly #lab: Gateway;
  constructor(lab: Gateway) {
    this.#lab = lab;
  }
  listen(): Promise<void> {
    return serve(this.#lab.server, [SERVER[4]], PORT);
  }
  /** One datagram from each source, and its answer. */
  async exchange(): Promise<void> {
    const sources = SOURCES.map((address) => `${address},4321`);
    await ask(this.#lab.client, [{ how: 'udp', to: SERVER[4], sources }]);
  }
  /** One datagram from each source, which nobody waits for. */
  async send(): Promise<void> {
    const program = `
      const dgram = require('node:dgram');
      for (const address of process.argv.slice(1)) {
        const socket = dgram.createSocket('udp4');
        socket.bind(4321, address, () => socket.send('x', ${PORT}, '${SERVER[4]}', () => socket.close()));
      }`;
    await this.#lab.client.run(process.execPath, ['-e', program, ...SOURCES]);
  }
}

const countsOf = (
  engine: Engine,
): { received: number; offloadedOwned: number; offloadedForeign: number } => {
  const { received, offloadedOwned, offloadedForeign } = engine.stats();
  return { received, offloadedOwned, offloadedForeign };
};

describe('offload', { skip }, () => {
  for (const way of [...FOLLOWING, ...STATELESS]) {
    const stateless = STATELESS.includes(way);
    describe(`${stateless ? 'stateless ' : ''}${way.offload.join()}, rules ${way.rules}`, () => {
      test('passes known connections without the queue, and drops them at once when they are moved', async () => {
        await using lab = await gateway();
        const passed = await watch(lab.gateway);
        await using engine = await open(optionsOn(lab, way));
        const talk = new Talk(lab);
        await talk.listen();
        await talk.exchange();
        const first = countsOf(engine);
        if (way.offload.includes('sources')) assert.equal(first.received, 0);
        else assert.ok(first.received > 0);
        await talk.exchange();
        await talk.exchange();
        const later = countsOf(engine);
        assert.equal(later.received, first.received, 'a known connection came to the queue');
        assert.ok(later.offloadedOwned - first.offloadedOwned >= 4 * COUNT);

        const hasher = new Hasher(HASHING);
        for (const node of [1, 2]) {
          await engine.setOwnership({ nodes: [node] });
          const before = { passed: await passed(), ...countsOf(engine) };
          await talk.send();
          const expected = SOURCES.filter((address) => hasher.node(address) === node).length;
          await waitFor('all to be decided', () => {
            const now = countsOf(engine);
            const grown =
              now.offloadedOwned +
              now.offloadedForeign -
              before.offloadedOwned -
              before.offloadedForeign;
            // Answers of the server come back, too.
            return grown >= COUNT + expected;
          });
          assert.equal((await passed()) - before.passed, expected);
          assert.equal(countsOf(engine).received, before.received);
        }
        await engine.own('none');
        const before = await passed();
        const foreign = countsOf(engine).offloadedForeign;
        await talk.send();
        await waitFor(
          'all to be dropped',
          () => countsOf(engine).offloadedForeign >= foreign + COUNT,
        );
        assert.equal(await passed(), before);
        await engine.own('1,2');
        await talk.exchange();
        assert.ok((await passed()) > before);
      });

      for (const signal of ['SIGKILL', 'SIGSTOP'] as const) {
        test(`ends with the ownership after ${signal}`, async () => {
          await using lab = await gateway();
          const passed = await watch(lab.gateway);
          const talk = new Talk(lab);
          await talk.listen();
          const began = performance.now();
          {
            await using _engine = await open(optionsOn(lab, way));
            await talk.exchange();
          }
          // As long as what is looked at before it ends takes, even where machines are slow.
          const validFor = Math.max(6000, 4 * (performance.now() - began));
          const options = optionsOn(lab, way, { ownership: { nodes: [1, 2], validFor } });
          await using engine = await engineProcess(options);
          const deadline = performance.now() + engine.remaining;
          await talk.exchange();
          engine.kill(signal);
          const before = await passed();
          await talk.send();
          await waitFor(
            'known connections to pass',
            async () => (await passed()) >= before + COUNT || performance.now() >= deadline,
          );
          assert.ok(performance.now() < deadline, 'the machine is too slow for this test');
          await waitFor('the deadline', () => performance.now() >= deadline, validFor);
          const after = await passed();
          await talk.send();
          const dropped = await waitForDrops(lab.gateway);
          assert.ok(dropped >= COUNT);
          assert.equal(await passed(), after);
        });
      }

      if (stateless) return;
      test("leaves the user's bits of the connmark, and sets an earlier engine's anew", async () => {
        await using lab = await gateway();
        await lab.gateway.run('nft', [
          'add table inet user; add chain inet user c { type filter hook forward priority 0; }; add rule inet user c ct mark set ct mark or 0x5',
        ]);
        const talk = new Talk(lab);
        await talk.listen();
        const other = { ...HASHING, hashSeed: 8 };
        const [first, second] = [HASHING, other].map((hashing) => new Hasher(hashing));
        const src = SOURCES.find((each) => first!.node(each) !== second!.node(each))!;
        const tuple = { src, dst: SERVER[4], protocol: 17, sport: 4321, dport: PORT };
        const mark = async (): Promise<number> =>
          (await findConnection(tuple, lab.gateway.path))!.mark;
        const node = first!.node(src);
        {
          await using _engine = await open(optionsOn(lab, way));
          await talk.exchange();
          assert.equal(await mark(), ((node << 16) | 0x5) >>> 0);
          await talk.exchange();
          assert.equal(await mark(), ((node << 16) | 0x5) >>> 0);
          assert.match(
            await explained(lab.gateway, tuple),
            new RegExp(`^connmark +holds bucket ${node - 1}$`, 'm'),
          );
        }
        await using engine = await open(optionsOn(lab, way, other));
        const renewed = ((second!.node(src) << 16) | 0x5) >>> 0;
        assert.equal(await mark(), renewed);
        await talk.exchange();
        assert.equal(engine.stats().received, 0);
        assert.equal(await mark(), renewed);
      });

      test('keeps what a connection’s bucket is, whatever bits of ours somebody sets in its packets', async () => {
        await using lab = await gateway();
        await lab.gateway.run(
          'nft',
          ['-f', '-'],
          `table inet user {
            counter arrived { }
            counter kept { }
            chain before { type filter hook prerouting priority -160
              iifname outside meta l4proto udp meta mark set 0x43ff0005 counter name arrived; }
            chain behind { type filter hook forward priority 0
              iifname outside meta mark & 0x1c00ffff == 0x5 counter name kept; }
          }`,
        );
        await using _engine = await open(optionsOn(lab, way));
        const talk = new Talk(lab);
        await talk.listen();
        for (const round of [1, 2, 3]) {
          await talk.exchange();
          await waitFor('all to pass as they came', async () => {
            const [arrived, kept] = await Promise.all(
              ['arrived', 'kept'].map((name) => counter(lab.gateway, 'user', name)),
            );
            return arrived! >= round * COUNT && kept === arrived;
          });
        }
        for (const src of SOURCES) {
          const tuple = { src, dst: SERVER[4], protocol: 17, sport: 4321, dport: PORT };
          const { mark } = (await findConnection(tuple, lab.gateway.path))!;
          assert.equal(mark, new Hasher(HASHING).node(src) << 16);
        }
      });
    });
  }

  test('of sources leaves 98 of 100 packets to the kernel, on two gateways', async () => {
    await using lab = await gateways(2);
    const engines: Engine[] = [];
    for (const [index, node] of lab.nodes.entries()) {
      engines.push(
        await open({
          ...HASHING,
          interfaces: [facing(OUTSIDE), facing(INSIDE)],
          localNode: index + 1,
          netns: node.path,
          rules: 'auto',
          offload: ['flows', 'sources'],
        }),
      );
      await routes(node);
    }
    try {
      const families = [4, 6] as const;
      await serve(
        lab.inside,
        families.map((family) => INSIDE.address[family](1)),
      );
      const flows = (rounds: readonly number[]): Flow[] =>
        rounds.flatMap((round) =>
          families.flatMap((family) =>
            range(8).flatMap((at) =>
              (['tcp', 'udp'] as const).map((protocol) => ({
                protocol,
                src: OUTSIDE.address[family](at + 10),
                sport: 20_000 + round,
                dst: INSIDE.address[family](1),
                dport: 7,
                size: protocol === 'tcp' ? 4000 : 100,
              })),
            ),
          ),
        );
      assert.deepEqual(await askAll(lab.outside, flows(range(40))), []);
      for (const engine of engines) {
        const { received, offloadedOwned, offloadedForeign } = engine.stats();
        const share = received / (received + offloadedOwned + offloadedForeign);
        assert.ok(share <= 0.02, `${received} of ${received / share} packets came to the queue`);
      }
    } finally {
      await Promise.all(engines.map((engine) => engine.close()));
    }
  });

  test('of sources needs no queue under a flood of invented ones', async () => {
    await using lab = await gateway();
    await using engine = await open(optionsOn(lab, SOURCES_TOO, { ownership: { nodes: [1] } }));
    const links = JSON.parse(await lab.gateway.run('ip', ['-j', 'link', 'show', 'outside'])) as [
      { address: string },
    ];
    const ends = { dst: SERVER[4], ethDst: links[0].address };
    const sources = range(100_000).map(
      (index) => `10.${100 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`,
    );
    const hasher = new Hasher(HASHING);
    const foreign = sources.filter((src) => hasher.node(src) === 2).length;
    const frames = sources.map((src) => udp({ ...ends, src }));
    await inject(lab.client, 'eth0', frames, { rate: 50_000 });
    await waitFor('the flood to be decided', () => {
      const { offloadedOwned, offloadedForeign } = countsOf(engine);
      return offloadedOwned + offloadedForeign >= sources.length;
    });
    assert.equal(countsOf(engine).offloadedForeign, foreign);
    assert.equal(countsOf(engine).received, 0);
  });

  test('is told by status', async () => {
    await using lab = await gateway();
    await using _engine = await open(optionsOn(lab, FLOWS, { control: 'auto' }));
    const { stdout } = await cli(['status', '--netns', lab.gateway.path]).outcome;
    assert.match(stdout, /^in kernel +0 owned, 0 foreign \(offload flows\)$/m);
  });
});

async function explained(
  node: Namespace,
  { src, dst, ...packet }: Required<Tuple>,
): Promise<string> {
  const { protocol, sport, dport } = packet;
  const ports = ['--proto', protocol, '--sport', sport, '--dport', dport].map(String);
  const hashing = ['--cluster-total-nodes', '2', '--cluster-hash-seed', '7'];
  const line = ['explain', '--src', src, '--dst', dst, '--netns', node.path, ...ports, ...hashing];
  const { status, stdout, stderr } = await cli(line).outcome;
  assert.equal(status, 0, stderr);
  return stdout;
}

/** Packets that our table dropped, once it has dropped those of every source. */
async function waitForDrops(node: Namespace): Promise<number> {
  const table = ['list', 'counter', 'inet', 'nfq-cluster-q0', 'offloaded-foreign'];
  let dropped = 0;
  await waitFor('drops', async () => {
    dropped = Number(/packets (\d+)/.exec(await node.run('nft', table))![1]);
    return dropped >= COUNT;
  });
  return dropped;
}
