/* `run` from start to end: stopped, killed, started again; what it tells, and what stays of it. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { Hasher } from '../../src/index.js';
import { range } from '../../src/options/buckets.js';
import { ended, type Namespace } from '../../src/lab/namespaces.js';
import { native } from '../../src/native.js';
import { hiddenFromOthers, NOBODY, openFolder } from '../support/capabilities.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { cli, root, share, waitFor, type Cli } from '../support/processes.js';
import { counter, stateOf } from '../support/state.js';
import { NODE, wire, type Wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

/** Counts before the queue and behind it, and what else a user may have. */
const USER_RULES = `table inet user {
  counter arrived { }
  counter passed { }
  set friends {
    type ipv4_addr
    elements = { 192.0.2.1, 192.0.2.2 }
  }
  chain first {
    type filter hook prerouting priority -310
    udp dport 9 counter name arrived
  }
  chain input {
    type filter hook input priority 0
    udp dport 9 counter name passed
  }
}
table ip nfq-clusters {
  chain other { }
}`;

async function userWire(): Promise<Wire> {
  const lab = await wire();
  await lab.node.run('nft', ['-f', '-'], USER_RULES);
  const mangle = ['-t', 'mangle', '-A', 'PREROUTING', '-i', 'other', '-j', 'ACCEPT'];
  await lab.node.run('iptables-nft', mangle);
  return lab;
}

const arrived = ({ node }: Wire): Promise<number> => counter(node, 'user', 'arrived');
const passed = ({ node }: Wire): Promise<number> => counter(node, 'user', 'passed');

const FLAGS = ['--interface', 'eth0', ...share(1, 2), '--json'];

async function start(namespace: Namespace, ...more: string[]): Promise<Cli> {
  const run = cli(['run', ...FLAGS, ...more], { namespace });
  await run.event('ready');
  return run;
}

/** The first node's sources, and the second's. */
const hasher = new Hasher({ totalNodes: 2, hashSeed: 0 });
const FRAMES = range(40).flatMap((at) => [
  { src: `10.1.0.${at + 20}`, dst: NODE.ipv4 },
  { src: `fd01::${at + 20}`, dst: NODE.ipv6 },
]);
const OWNED = FRAMES.filter(({ src }) => hasher.node(src) === 1).length;

/** Sends all of them, and waits until so many more have arrived. */
async function send(lab: Wire): Promise<void> {
  const already = await arrived(lab);
  const frames = FRAMES.map((ends) => udp(ends));
  await inject(lab.sender, 'eth0', frames);
  await waitFor('all', async () => (await arrived(lab)) === already + frames.length);
}

const untilPassed = (lab: Wire, count: number): Promise<void> =>
  waitFor(`${count} have passed`, async () => (await passed(lab)) >= count);

/** Runs it to its end, which comes at once, with one line that tells why, and before anything is changed. */
async function refused(
  lab: Wire,
  args: readonly string[],
  message: RegExp,
  wrapper: readonly string[] = [],
): Promise<void> {
  const before = await stateOf(lab.node);
  const run = cli(['run', ...share(1, 2), ...args], { namespace: lab.node, wrapper });
  const { status, stdout, stderr } = await run.outcome;
  assert.equal(status, 1, stderr);
  assert.equal(stdout, '');
  assert.match(stderr, /^nfq-cluster: [^\n]+\n$/);
  assert.match(stderr, message);
  assert.equal(await stateOf(lab.node), before);
}

describe('run', { skip }, () => {
  for (const [signal, rules] of [
    ['SIGTERM', 'auto'],
    ['SIGINT', 'xtables'],
    ['SIGHUP', 'auto'],
  ] as const) {
    test(`accepts what it owns, drops the rest, and leaves no trace: rules ${rules}, ${signal}`, async () => {
      await using lab = await userWire();
      const before = await stateOf(lab.node);
      const run = await start(lab.node, '--rules', rules);
      assert.notEqual(await stateOf(lab.node), before);
      await send(lab);
      await untilPassed(lab, OWNED);
      run.child.kill(signal);
      const { received, owned, foreign } = await run.event('closed');
      const decided = { received: FRAMES.length, owned: OWNED, foreign: FRAMES.length - OWNED };
      assert.deepEqual({ received, owned, foreign }, decided);
      assert.equal((await run.outcome).status, 0);
      assert.equal(await passed(lab), OWNED);
      assert.equal(await stateOf(lab.node), before);
    });
  }

  test('killed, nothing gets in; started again, it goes on; stopped, it leaves no trace', async () => {
    await using lab = await userWire();
    const before = await stateOf(lab.node);
    const first = await start(lab.node);
    first.child.kill('SIGKILL');
    assert.equal((await first.outcome).status, 'SIGKILL');
    await send(lab);
    assert.equal(await passed(lab), 0);
    const second = await start(lab.node);
    await send(lab);
    await untilPassed(lab, OWNED);
    second.child.kill('SIGTERM');
    assert.equal((await second.outcome).status, 0);
    assert.equal(await passed(lab), OWNED);
    assert.equal(await stateOf(lab.node), before);
  });

  test('by nft-compat drops what it cannot queue, until queue-rule mends that', async (t) => {
    if (native.probeQueue().target !== 0) return t.skip('the kernel has no such rule');
    await using lab = await userWire();
    await start(lab.node, '--rules', 'nft-compat');
    await lab.node.run('nft', ['flush', 'chain', 'inet', 'nfq-cluster-q0', 'nfqueue']);
    await send(lab);
    assert.equal(await passed(lab), 0);
    const mended = cli(['queue-rule', '--name', 'q0', '--queue', '0'], { namespace: lab.node });
    assert.equal((await mended.outcome).status, 0);
    await send(lab);
    await untilPassed(lab, OWNED);
    assert.equal(await passed(lab), OWNED);
  });

  test('tells JSON line by line: ready, stats, closed', async () => {
    await using lab = await wire();
    const run = cli(['run', ...FLAGS, '-q', '3-4', '--name', 'gw'], { namespace: lab.node });
    const { queues, interfaces, rules } = await run.event('ready');
    assert.deepEqual(queues, [3, 4]);
    assert.deepEqual(interfaces, [
      { name: 'eth0', key: 'source', addresses: [], destinations: 'all' },
    ]);
    assert.equal((rules as { name: string }).name, 'nfq-cluster-gw');
    const { second } = await run.event('stats');
    assert.equal(typeof (second as { received: number }).received, 'number');
    run.child.kill('SIGTERM');
    const { status, stdout } = await run.outcome;
    assert.equal(status, 0);
    const lines = stdout.trim().split('\n');
    const events = lines.map((line) => (JSON.parse(line) as { event: string }).event);
    assert.match(events.join(), /^ready(,stats)+,closed$/);
  });

  test('tells people in columns, from outside the namespace too, by a file of options', async (t) => {
    await using lab = await wire();
    await using folder = await openFolder();
    const before = await stateOf(lab.node);
    const file = path.join(folder.path, 'options.json');
    const interfaces = [{ name: 'eth0', key: 'destination' }];
    const options = { interfaces, localNode: 1, totalNodes: 2, hashSeed: 7, netns: lab.node.path };
    writeFileSync(file, JSON.stringify(options));
    const run = cli(['run', '--config', file]);
    t.after(() => run.child.kill('SIGKILL'));
    let said = '';
    run.child.stdout!.on('data', (text) => (said += String(text)));
    await waitFor('a line of statistics', () => said.split('\n').length > 2);
    assert.match(await stateOf(lab.node), /nfq-cluster-q0/);
    run.child.kill('SIGTERM');
    const { status, stdout } = await run.outcome;
    assert.equal(status, 0);
    const [head, row] = stdout.split('\n');
    assert.match(
      head!,
      /^ *received\/s +owned\/s +foreign\/s +unknown +malformed +lost +p50 us +p99 us$/,
    );
    assert.match(row!, /^ +0 +0 +0 +0 +0 +0 +- +-$/);
    assert.match(stdout, /\ntotal: received 0, owned 0, foreign 0, unknown 0, malformed 0, .*\n$/);
    assert.equal(await stateOf(lab.node), before);
  });

  test('ends, and removes its rules, when nobody reads its output any more', async () => {
    await using lab = await wire();
    const before = await stateOf(lab.node);
    const run = await start(lab.node);
    run.child.stdout!.destroy();
    assert.equal(await ended(run.child), 0);
    assert.equal(await stateOf(lab.node), before);
  });

  test('ends, and removes its rules, though nobody reads what it writes', async () => {
    await using lab = await wire();
    await using folder = await openFolder();
    const before = await stateOf(lab.node);
    const fifo = path.join(folder.path, 'output');
    execFileSync('mkfifo', [fifo]);
    const output = openSync(fifo, 'r+');
    try {
      writeSync(output, Buffer.alloc(65_536)); // all that a pipe holds
      const line = [path.join(root, 'dist/cli/main.js'), 'run', ...FLAGS];
      const child = lab.node.spawn(process.execPath, line, { stdio: ['ignore', output, 'pipe'] });
      let stderr = '';
      child.stderr!.on('data', (chunk) => (stderr += String(chunk)));
      await waitFor('it to be ready', () => stderr.includes('ready: '));
      child.kill('SIGTERM');
      assert.equal(await ended(child), 0, stderr);
    } finally {
      closeSync(output);
    }
    assert.equal(await stateOf(lab.node), before);
  });

  test('takes a signal that comes twice, as from the terminal and from npx, for one', async () => {
    await using lab = await wire();
    const before = await stateOf(lab.node);
    const run = await start(lab.node);
    run.child.kill('SIGINT');
    // Else the kernel takes both for one.
    const pending = (): string =>
      /^ShdPnd:\s*(\w+)$/m.exec(readFileSync(`/proc/${run.child.pid!}/status`, 'utf8'))![1]!;
    await waitFor('the first has come', () => Number(`0x${pending()}`) === 0);
    run.child.kill('SIGINT');
    assert.equal((await run.outcome).status, 0);
    assert.equal(await stateOf(lab.node), before);
  });

  test('removes its rules although Ctrl-C comes to its programs, too', async () => {
    await using lab = await wire();
    await using folder = await openFolder();
    const before = await stateOf(lab.node);
    const nft = path.join(folder.path, 'nft');
    // While nft runs, all in the foreground get the signal, as from a terminal: once.
    const script = `#!/bin/sh
      PATH="\${PATH#*:}"
      mv "$0.due" "$0.done" 2>/dev/null && kill -INT -$PPID
      exec nft "$@"`;
    writeFileSync(nft, script, { mode: 0o755 });
    const wrapper = ['setsid', 'env', `PATH=${folder.path}:${process.env['PATH']!}`];
    const run = cli(['run', ...FLAGS], { namespace: lab.node, wrapper });
    await run.event('ready');
    writeFileSync(`${nft}.due`, '');
    run.child.kill('SIGINT');
    const { status, stderr } = await run.outcome;
    assert.equal(status, 0, stderr);
    assert.ok(existsSync(`${nft}.done`));
    assert.equal(await stateOf(lab.node), before);
  });

  test('ends at once at a second signal', async () => {
    await using lab = await wire();
    const run = await start(lab.node);
    run.child.kill('SIGTERM');
    run.child.kill('SIGINT');
    const { status, stderr } = await run.outcome;
    assert.ok(status === 130 || status === 143, `ended with ${status}`);
    assert.match(
      stderr,
      /again: ending at once\. Rules that are still in place drop what they would queue/,
    );
  });

  test('says what is wrong before it changes anything', async () => {
    await using lab = await wire();
    await start(lab.node);
    const eth0 = ['--interface', 'eth0'];
    const cases: { args: string[]; message: RegExp; wrapper?: string[] }[] = [
      { args: [...eth0, '--name', 'second'], message: /queue 0 is taken/i },
      { args: ['--interface', 'nope', '-q', '1'], message: /no interface nope/i },
      { args: [...eth0, '--netns', 'nowhere'], message: /network namespace .*nowhere/ },
      {
        args: [...eth0, '-q', '1'],
        message: /permitted/i,
        wrapper: ['setpriv', '--bounding-set', '-net_admin,-sys_admin'],
      },
    ];
    for (const { args, message, wrapper } of cases) await refused(lab, args, message, wrapper);
  });

  test('says what an ordinary user lacks', { skip: hiddenFromOthers() }, async () => {
    await using lab = await wire();
    const args = ['--interface', 'eth0', '--rules', 'none', '--control', 'none'];
    await refused(lab, args, /CAP_NET_ADMIN/, NOBODY);
  });
});
