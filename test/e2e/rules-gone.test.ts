/* Rules that somebody takes away from a running engine, as a firewall does that loads its own over everything. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import {
  apply,
  open,
  plan,
  revert,
  status,
  type Engine,
  type NfqClusterError,
  type Options,
  type SetupStatus,
} from '../../src/index.js';
import type { Namespace } from '../../src/lab/namespaces.js';
import { native } from '../../src/native.js';
import { resolveOptions } from '../../src/options/resolve.js';
import { install, type Installed } from '../../src/setup/setup.js';
import { chooseMechanism } from '../../src/setup/probe.js';
import { inTurn } from '../../src/setup/turn.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { cli, share, waitFor } from '../support/processes.js';
import { mechanismsHere } from '../support/rules-lab.js';
import { stateOf } from '../support/state.js';
import { CLUSTER, clusterOptions, NODE, SENDER, wire, type Wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

const flush = (node: Namespace): Promise<string> => node.run('nft', ['flush', 'ruleset']);

const fault = async (engine: Engine): Promise<NfqClusterError> =>
  ((await once(engine, 'fault')) as [NfqClusterError])[0];

const TABLE = 'nfq-cluster-q0';

const states = ({ steps = [] }: SetupStatus): string[] => [
  ...new Set(steps.map(({ state }) => state)),
];

/** A setup as an engine makes it, without one that looks. */
async function made(options: Options): Promise<Installed> {
  const resolved = resolveOptions(options);
  return install(resolved, await chooseMechanism(resolved));
}

/** Every fault that an engine tells from here on. */
function faultsOf(engine: Engine): string[] {
  const faults: string[] = [];
  engine.on('fault', ({ code }) => faults.push(code));
  return faults;
}

describe('an engine whose rules are gone', { skip }, async () => {
  for (const [title, { kind }] of skip === false ? await mechanismsHere() : []) {
    test(`tells so, and the node answers for the cluster no more: ${title}`, async () => {
      await using at = await wire();
      const before = await stateOf(at.node);
      await using engine = await open(clusterOptions(at.node, { rules: kind }));
      const standing = await stateOf(at.node);
      for (const part of [CLUSTER.ipv4, CLUSTER.ipv6, CLUSTER.mac])
        assert.ok(standing.includes(part), part);
      const told = fault(engine);
      await flush(at.node);
      const { code, message, expected } = await told;
      assert.equal(code, 'ERR_RULES');
      assert.match(message, /^The rules are gone: packets pass undecided\. /);
      assert.match(expected!, /nfq-cluster-q0/);
      assert.equal(await stateOf(at.node), before);
      await engine.close();
      assert.equal(await stateOf(at.node), before);
    });
  }

  for (const [what, args] of [
    ['table', ['table', 'inet', TABLE]],
    ['chain ahead of the queue', ['chain', 'inet', TABLE, 'before-queue']],
  ] as const) {
    for (const standing of [false, true]) {
      const whose = standing ? 'of a setup that stands' : 'of its own';
      test(`tells so where the ${what} ${whose} was emptied`, async () => {
        await using at = await wire();
        const before = await stateOf(at.node);
        if (standing) await apply(clusterOptions(at.node));
        await using engine = await open(clusterOptions(at.node));
        const told = fault(engine);
        await at.node.run('nft', ['flush', ...args]);
        assert.equal((await told).code, 'ERR_RULES');
        assert.equal(await stateOf(at.node), before);
        await engine.close();
        assert.equal(await stateOf(at.node), before);
      });
    }
  }

  test('takes back what it changed also where it is closed at once', async () => {
    await using at = await wire();
    const before = await stateOf(at.node);
    const engine = await open(clusterOptions(at.node));
    await flush(at.node);
    await engine.close();
    assert.equal(await stateOf(at.node), before);
  });

  test('and what apply() had changed, which nothing else remembers any more', async () => {
    await using at = await wire();
    const before = await stateOf(at.node);
    await apply(clusterOptions(at.node));
    await using engine = await open(clusterOptions(at.node));
    const told = fault(engine);
    await flush(at.node);
    await told;
    assert.equal(await stateOf(at.node), before);
  });

  test('by revert() leaves what an administrator adds behind it', async () => {
    await using at = await wire();
    await using engine = await open(clusterOptions(at.node));
    const told = fault(engine);
    await revert({ netns: at.node.path });
    assert.equal((await told).code, 'ERR_RULES');
    await at.node.ip(`address add ${CLUSTER.ipv4}/24 dev eth0`);
    const added = await stateOf(at.node);
    await engine.close();
    assert.equal(await stateOf(at.node), added);
  });

  test('leaves another setup that came in its place', async () => {
    await using at = await wire();
    await using engine = await open(clusterOptions(at.node));
    const told = fault(engine);
    await flush(at.node);
    const options = clusterOptions(at.node, { queues: [1] });
    await using _other = await open(options);
    assert.equal((await told).code, 'ERR_RULES');
    await engine.close();
    assert.deepEqual(states(await status({ netns: at.node.path }, options)), ['in place']);
  });

  test('and not one that is applied again beneath it', async () => {
    await using at = await wire();
    await using engine = await open(clusterOptions(at.node));
    await using watched = await open(clusterOptions(at.node, { name: 'q1', queues: [1] }));
    const faults = faultsOf(engine);
    for (let time = 0; time < 10; time += 1) await apply(clusterOptions(at.node));
    const told = fault(watched);
    await at.node.run('nft', ['delete', 'table', 'inet', 'nfq-cluster-q1']);
    await told;
    assert.deepEqual(faults, []);
  });

  test('is looked at no more where close() came while it looked', async (t) => {
    await using at = await wire();
    await using engine = await open(clusterOptions(at.node));
    const chains = await at.node.run('nft', ['list', 'chains', 'inet']);
    const [run] = /run-\S+/.exec(chains)!;
    const intervals = t.mock.method(globalThis, 'setInterval');
    let closed: Promise<void> | undefined;
    await inTurn(at.node.path, async () => {
      const tries = t.mock.method(native, 'lockNetns');
      await flush(at.node);
      await waitFor('it looks', () => tries.mock.callCount() > 0);
      await at.node.run('nft', [`add table inet ${TABLE}; add chain inet ${TABLE} ${run}`]);
      closed = engine.close();
    });
    await closed;
    assert.equal(intervals.mock.callCount(), 0);
  });

  test('tells a listener that may throw, once', async () => {
    await using at = await wire();
    await using engine = await open(clusterOptions(at.node));
    const told: string[] = [];
    engine.on('fault', ({ message }) => {
      told.push(message);
      throw new Error('on purpose');
    });
    const uncaught: string[] = [];
    process.setUncaughtExceptionCaptureCallback(({ message }) => uncaught.push(message));
    try {
      await flush(at.node);
      await waitFor('the error', () => uncaught.length > 0);
    } finally {
      process.setUncaughtExceptionCaptureCallback(null);
    }
    assert.deepEqual(uncaught, ['on purpose']);
    assert.equal(told.length, 1, told.join('\n'));
  });
});

describe('a setup whose rules are gone', { skip }, () => {
  const options = ({ node }: Wire, more: Partial<Options> = {}): Options =>
    clusterOptions(node, { conntrack: 'mark', ...more });

  for (const [what, more] of [
    ['another name', { name: 'q1', queues: [1] }],
    ['its name', { queues: [1] }],
  ] as const) {
    test(`leaves what one of ${what} needs that came since, which takes it back`, async () => {
      await using at = await wire();
      const before = await stateOf(at.node);
      const setup = await made(options(at));
      await flush(at.node);
      const [shared] = options(at).interfaces as [object];
      const interfaces = [{ ...shared, name: 'eth0', addresses: [`${CLUSTER.ipv4}/24`] }];
      const next = options(at, { ...more, interfaces });
      await apply(next);
      assert.equal(await setup.removeRest(), true);
      const which = { name: resolveOptions(next).name, netns: at.node.path };
      assert.deepEqual(states(await status(which, next)), ['in place']);
      assert.doesNotMatch(await stateOf(at.node), /inet6 fd01::10/);
      await revert(which);
      assert.equal(await stateOf(at.node), before);
    });
  }

  test('is not one that another replaced with the same rules, which it goes with', async () => {
    await using at = await wire();
    const before = await stateOf(at.node);
    const first = options(at);
    await apply(first);
    const setup = await made(first);
    for (const last of [11, 10]) {
      const interfaces = [{ name: 'eth0', addresses: [`10.1.0.${last}/24`], mac: CLUSTER.mac }];
      await apply(options(at, { interfaces }), { replace: true });
      const standing = await stateOf(at.node);
      assert.equal(await setup.removeRest(), false);
      assert.equal(await stateOf(at.node), standing);
      assert.ok(setup.isWhole((chain) => standing.includes(` ${chain} `)));
    }
    await flush(at.node);
    assert.equal(await setup.removeRest(), true);
    assert.equal(await stateOf(at.node), before);
  });
});

test('a table that comes in the place of its own holds what is owned now', { skip }, async () => {
  await using at = await wire();
  const options = clusterOptions(at.node, { offload: ['flows', 'sources'] });
  await apply(options);
  await using engine = await open(options);
  const faults = faultsOf(engine);
  const sets = async (): Promise<string[]> => {
    const listed = ['owned-marks', 'foreign-buckets'].map(async (set) => {
      const text = await at.node.run('nft', ['list', 'set', 'inet', TABLE, set]);
      return /elements = (\{[^}]*\})/.exec(text)?.[1] ?? '';
    });
    return Promise.all(listed);
  };
  const [once] = await sets();
  await engine.own('none');
  const now = await sets();
  assert.notEqual(once, now[0]);

  const [rules, ...others] = (await plan(options)).steps;
  const copy = `delete table inet ${TABLE}\n${rules!.input}add element inet ${TABLE} owned-marks ${once}\n`;
  await at.node.run('nft', ['-f', '-'], copy);
  for (const { program, args } of others)
    if (args.includes('queue-rule')) await at.node.run(program, args);
  await waitFor('what is owned now', async () => isDeepStrictEqual(await sets(), now));
  assert.deepEqual(faults, []);
});

test('`run` whose rules are gone ends with 1, and the next one decides', { skip }, async () => {
  await using at = await wire();
  const before = await stateOf(at.node);
  const args = [
    ...['run', '--json', '-i', 'eth0', ...share(1, 1)],
    ...['--address', `eth0=${CLUSTER.ipv4}/24`, '--mac', `eth0=${CLUSTER.mac}`],
  ];
  const run = cli(args, { namespace: at.node });
  await run.event('ready');
  await flush(at.node);
  const { status, stderr } = await run.outcome;
  assert.equal(status, 1);
  assert.match(stderr, /^nfq-cluster: The rules are gone: .* open another once nothing/m);
  assert.equal(await stateOf(at.node), before);

  const next = cli(args, { namespace: at.node });
  await next.event('ready');
  await inject(at.sender, 'eth0', [udp({ src: SENDER.ipv4, dst: NODE.ipv4 })]);
  await waitFor('it decides', async () => (await next.event('stats'))['owned'] !== 0);
  next.child.kill('SIGTERM');
  assert.equal((await next.outcome).status, 0);
  assert.equal(await stateOf(at.node), before);
});
