/* A queue thread that can no longer answer: it is told, and its packets are dropped, until another takes over. */
import { fail, left } from '../support/failing-nft.js';
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { apply, open, revert, type NfqClusterError } from '../../src/index.js';
import { boundQueues } from '../addon/lab.js';
import { takeSocket } from '../support/fault.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { cli, root, share, waitFor } from '../support/processes.js';
import { counter, stateOf } from '../support/state.js';
import { NODE, SENDER, wire, type Wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

const FRAMES = Array.from({ length: 5 }, () => udp({ src: SENDER.ipv4, dst: NODE.ipv4 }));
const OPTIONS = { interfaces: ['eth0'], totalNodes: 1, localNode: 1, hashSeed: 0 };

const PROBE = `table inet probe {
  counter arrived { }
  counter passed { }
  chain first { type filter hook prerouting priority -310; udp dport 9 counter name arrived; }
  chain last { type filter hook prerouting priority 10; udp dport 9 counter name passed; }
}`;

const counted = ({ node }: Wire, name: string): Promise<number> => counter(node, 'probe', name);

/** Sends FRAMES, and waits until they have arrived. */
async function send(at: Wire): Promise<void> {
  const before = await counted(at, 'arrived');
  await inject(at.sender, 'eth0', FRAMES);
  const all = before + FRAMES.length;
  await waitFor('the frames arrive', async () => (await counted(at, 'arrived')) === all);
}

async function lab(): Promise<Wire> {
  const at = await wire();
  await at.node.run('nft', ['-f', '-'], PROBE);
  return at;
}

describe('a fault', { skip }, () => {
  test('that comes before open() is done is its error, and nothing is left', async () => {
    await using at = await lab();
    const before = await stateOf(at.node);
    const options = { ...OPTIONS, rules: 'auto', netns: at.node.path } as const;
    await apply(options);
    fail('late');
    const opening = open(options);
    const refused = assert.rejects(opening, {
      code: 'ERR_SYSTEM',
      errno: constants.errno.ENOTSOCK,
    });
    await waitFor('it listens', async () => (await boundQueues(at.node)).length === 1);
    takeSocket(0);
    await send(at);
    await refused;
    assert.deepEqual([left(), await boundQueues(at.node)], ['', []]);
    await revert({ netns: at.node.path });
    assert.equal(await stateOf(at.node), before);
  });

  test('is an event; packets are dropped until the engine is opened anew', async () => {
    await using at = await lab();
    const before = await stateOf(at.node);
    const options = { ...OPTIONS, rules: 'auto', netns: at.node.path } as const;
    await using engine = await open(options);
    await send(at);
    await waitFor('they pass', async () => (await counted(at, 'passed')) === FRAMES.length);

    const faults: NfqClusterError[] = [];
    engine.on('fault', (error) => faults.push(error));
    takeSocket(0);
    await send(at);
    await waitFor('the fault', () => faults.length > 0);
    await send(at);
    assert.deepEqual(
      faults.map(({ name, code, errno }) => ({ name, code, errno })),
      [{ name: 'NfqClusterError', code: 'ERR_SYSTEM', errno: constants.errno.ENOTSOCK }],
    );
    assert.equal(await counted(at, 'passed'), FRAMES.length);
    await engine.close();
    assert.equal(await stateOf(at.node), before);

    await using another = await open(options);
    await send(at);
    await waitFor(
      'they pass again',
      async () => (await counted(at, 'passed')) === 2 * FRAMES.length,
    );
    assert.equal(another.stats().owned, FRAMES.length);
  });

  test('is told to a listener that may throw, as any other', async (t) => {
    await using at = await lab();
    await using engine = await open({ ...OPTIONS, rules: 'auto', netns: at.node.path });
    engine.on('fault', ({ code }) => {
      throw new Error(`on purpose: ${code}`);
    });
    const uncaught: string[] = [];
    process.setUncaughtExceptionCaptureCallback(({ message }) => uncaught.push(message));
    t.after(() => process.setUncaughtExceptionCaptureCallback(null));
    takeSocket(0);
    await send(at);
    await waitFor('the error', () => uncaught.length > 0);
    assert.deepEqual(uncaught, ['on purpose: ERR_SYSTEM']);
  });

  test('is a warning of the process where nobody listens', async (t) => {
    await using at = await lab();
    const warned: NodeJS.ErrnoException[] = [];
    const listener = (warning: Error): unknown => warned.push(warning);
    process.on('warning', listener);
    t.after(() => process.off('warning', listener));
    await using _engine = await open({ ...OPTIONS, rules: 'auto', netns: at.node.path });
    takeSocket(0);
    await send(at);
    await waitFor('the warning', () => warned.some(({ code }) => code === 'ERR_SYSTEM'));
  });

  test('ends `run` with 1; its rules stay, and drop, until the next run', async () => {
    await using at = await lab();
    const before = await stateOf(at.node);
    const args = ['run', '--json', '-i', 'eth0', ...share(1, 1)];
    const breakable = ['--import', 'tsx', '--import', path.join(root, 'test/support/fault.ts')];
    const run = cli(args, { namespace: at.node, env: { NODE_OPTIONS: breakable.join(' ') } });
    await run.event('ready');
    const standing = await stateOf(at.node);
    assert.notEqual(standing, before);

    run.child.kill('SIGUSR2');
    await send(at);
    await waitFor('it ends', () => run.child.exitCode !== null);
    const { status, stderr } = await run.outcome;
    assert.equal(status, 1);
    assert.match(
      stderr,
      /^nfq-cluster: Cannot .*\. The rules stay, and drop what they would queue, until the next run replaces them$/m,
    );
    assert.equal(await stateOf(at.node), standing);
    const passed = await counted(at, 'passed'); // what was sent before the signal came
    await send(at);
    assert.equal(await counted(at, 'passed'), passed);

    const next = cli(args, { namespace: at.node });
    await next.event('ready');
    await send(at);
    await waitFor(
      'they pass',
      async () => (await counted(at, 'passed')) === passed + FRAMES.length,
    );
    next.child.kill('SIGTERM');
    assert.equal((await next.outcome).status, 0);
    assert.equal(await stateOf(at.node), before);
  });
});

test('an interface that is removed and made again is found again', { skip }, async () => {
  await using at = await lab();
  await using engine = await open({ ...OPTIONS, rules: 'auto', netns: at.node.path });
  await send(at);
  await waitFor('they pass', async () => (await counted(at, 'passed')) === FRAMES.length);

  await at.node.ip('link delete eth0');
  await at.sender.veth('eth0', at.node, 'eth0');
  await at.sender.ip('link set eth0 up');
  await at.node.ip(`link set eth0 address ${NODE.mac} up`, `address add ${NODE.ipv4}/24 dev eth0`);
  await waitFor('more pass', async () => {
    await send(at);
    return (await counted(at, 'passed')) > FRAMES.length;
  });
  assert.ok(engine.stats().malformed > 0);
});
