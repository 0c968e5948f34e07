/* A running engine, changed through its control socket under traffic. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Control, Hasher, open, type Status } from '../../src/index.js';
import { CONTROL_DIRECTORY, controlPath } from '../../src/control/path.js';
import type { Namespace } from '../../src/lab/namespaces.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { cli, waitFor, type Cli, type Outcome } from '../support/processes.js';
import { NODE, wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const SEED = 0xfeed;
const hasher = new Hasher({ totalNodes: 4, hashSeed: SEED });
const sources = Array.from({ length: 64 }, (_, index) => `10.2.0.${index + 1}`);
const frames = sources.map((src) => udp({ src, dst: NODE.ipv4 }));
const of = (...nodes: number[]): number =>
  sources.filter((source) => nodes.includes(hasher.node(source))).length;

const SHARE = ['--cluster-total-nodes', '4', '--cluster-local-node', '1'];
const RUN = ['run', '--interface', 'eth0', ...SHARE, '--cluster-hash-seed', `${SEED}`, '--json'];

async function start(node: Namespace, ...more: string[]): Promise<Cli> {
  const run = cli([...RUN, ...more], { namespace: node });
  await run.event('ready');
  return run;
}

const command = (node: Namespace, ...args: string[]): Promise<Outcome> =>
  cli(args, { namespace: node }).outcome;
const ok = (stdout: string): Outcome => ({ status: 0, stdout, stderr: '' });

/** Starts a program with so few files left where control sockets are by default. */
const withRoomFor = (files: number): string[] => {
  const script = `mkdir -p ${CONTROL_DIRECTORY}
    mount -t tmpfs -o nr_inodes=${files + 1} tmpfs ${CONTROL_DIRECTORY} && exec "$@"`;
  return ['unshare', '--mount', 'sh', '-c', script, 'sh'];
};

describe('nfq-cluster status and own', { skip }, () => {
  // The file is made under another name first, so that one is not enough.
  for (const files of [0, 1]) {
    test(`cannot be had, and run goes on, with room for ${files} files`, async () => {
      await using lab = await wire();
      const run = cli(RUN, { namespace: lab.node, wrapper: withRoomFor(files) });
      await run.event('ready');
      run.child.kill('SIGTERM');
      const { status, stderr } = await run.outcome;
      assert.equal(status, 0);
      assert.match(stderr, /^nfq-cluster: no control socket: .*ENOSPC.* Give another path/);
    });
  }

  test('change what a run owns, done when the command returns', async () => {
    await using lab = await wire();
    const run = await start(lab.node);
    const asked = async (): Promise<Status> =>
      JSON.parse((await command(lab.node, 'status', '--json')).stdout) as Status;
    const owned = async (): Promise<number> => {
      const { counts } = await asked();
      await inject(lab.sender, 'eth0', frames);
      const done = counts.received + frames.length;
      await waitFor('all frames', async () => (await asked()).counts.received === done);
      return (await asked()).counts.owned - counts.owned;
    };
    assert.equal(await owned(), of(1));
    assert.deepEqual(await command(lab.node, 'own'), ok('1\n'));
    assert.deepEqual(await command(lab.node, 'own', '+3'), ok('1,3\n'));
    assert.equal(await owned(), of(1, 3));
    assert.deepEqual(await command(lab.node, 'own', '-1'), ok('3\n'));
    assert.equal(await owned(), of(3));
    assert.deepEqual(await command(lab.node, 'own', '2,4'), ok('2,4\n'));
    assert.equal(await owned(), of(2, 4));
    assert.equal((await command(lab.node, 'own', '1', '--valid-for', '1')).status, 0);
    assert.deepEqual(await command(lab.node, 'own'), ok('\n'));
    assert.match(
      (await command(lab.node, 'status')).stdout,
      /^owned +nodes none of 4\nvalid for +no/m,
    );
    assert.deepEqual(await command(lab.node, 'own', 'none'), ok('\n'));
    assert.equal(await owned(), 0);

    const { nodes, validFor, name, pid } = await asked();
    assert.deepEqual({ nodes, validFor, name }, { nodes: [], validFor: null, name: 'q0' });
    const text = await command(lab.node, 'status');
    assert.match(text.stdout, new RegExp(`^name +q0, process ${pid}\n`));
    assert.match(text.stdout, /^owned +nodes none of 4$/m);
    assert.match(text.stdout, /^conntrack +(queue|netlink|mark): \S/m);
    const packets = /^packets +(\d+) received: (.*)$/m.exec(text.stdout)!;
    const parts = packets[2]!.split(', ').map((part) => part.split(' ') as [string, string]);
    assert.deepEqual(
      parts.map(([, what]) => what),
      ['owned', 'foreign', 'unknown', 'malformed'],
    );
    const sum = parts.reduce((all, [count]) => all + Number(count), 0);
    assert.equal(sum, Number(packets[1]));
    run.child.kill('SIGTERM');
    assert.equal((await run.outcome).status, 0);
  });

  test('refuse, and change nothing', async () => {
    await using lab = await wire();
    const run = await start(lab.node);
    const wrong: [string[], RegExp, number?][] = [
      [['+1'], /^nfq-cluster: Node 1 is owned already\n$/],
      [['-2'], /^nfq-cluster: Node 2 is not owned\n$/],
      [
        ['+5'],
        /^nfq-cluster: Expected \+N, -N, N,M or none, with numbers from 1 to 4 for change/,
        2,
      ],
      [['-0'], /received "-0"/, 2],
      [['all'], /received "all"/, 2],
      [['1,4-3'], /ranges FIRST-LAST for change/, 2],
      [['+2', '--valid-for', '5'], /received 5\. Adding and removing keep the deadline/, 2],
    ];
    for (const [args, says, exit = 1] of wrong) {
      const { status, stdout, stderr } = await command(lab.node, 'own', ...args);
      assert.deepEqual([status, stdout], [exit, '']);
      assert.match(stderr, says);
    }
    assert.deepEqual(await command(lab.node, 'own'), ok('1\n'));
    assert.equal((await command(lab.node, 'own', '+2', '+3')).status, 2);
    run.child.kill('SIGTERM');
    await run.outcome;
    const { status, stderr } = await command(lab.node, 'status');
    assert.equal(status, 1);
    assert.match(stderr, /^nfq-cluster: No engine answers on \/run\/nfq-cluster\/q0@\d+\.sock/);
  });

  test('a second run of one name is refused; a killed one is replaced', async () => {
    await using lab = await wire();
    const file = await controlPath('q0', lab.node.path);
    const first = await start(lab.node);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const share = ['--cluster-total-nodes', '4', '--cluster-local-node', '1', '--queue', '1'];
    const second = ['run', '-i', 'eth0', ...share, '--cluster-hash-seed', '0', '--name', 'q0'];
    const refused = await command(lab.node, ...second);
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /The control socket .* is taken/);
    assert.deepEqual(await command(lab.node, 'own'), ok('1\n'));

    first.child.kill('SIGKILL');
    await first.outcome;
    assert.ok(existsSync(file));
    assert.equal((await command(lab.node, 'status')).status, 1);
    const third = await start(lab.node);
    assert.deepEqual(await command(lab.node, 'own'), ok('1\n'));
    third.child.kill('SIGTERM');
    await third.outcome;
    assert.ok(!existsSync(file));
  });

  test('what is asked of a stopped run', async (t) => {
    await using lab = await wire();
    const run = await start(lab.node);
    const file = await controlPath('q0', lab.node.path);
    const control = new Control({ path: file });
    const stopped = async (work: () => Promise<unknown>): Promise<void> => {
      run.child.kill('SIGSTOP');
      try {
        await work();
      } finally {
        run.child.kill('SIGCONT');
      }
    };
    await t.test('is not done where nobody waits for it any more', async () => {
      await stopped(async () => {
        const socket = net.connect(file);
        await new Promise((resolve) => socket.write('{"command":"own","change":"+2"}\n', resolve));
        socket.destroy();
        await once(socket, 'close');
      });
      assert.deepEqual((await control.status()).nodes, [1]);
    });
    await t.test('is done where the client has only ended what it sends', async () => {
      let answer = Promise.resolve('');
      await stopped(async () => {
        const socket = net.connect({ path: file, allowHalfOpen: true });
        answer = text(socket);
        await new Promise<void>((resolve) =>
          socket.end('{"command":"own","change":"+2"}\n', resolve),
        );
      });
      assert.deepEqual((JSON.parse(await answer) as { result: Status }).result.nodes, [1, 2]);
    });
    await t.test('is owned no longer than it was to be', async () => {
      let answer: Promise<Status> | undefined;
      await stopped(async () => {
        answer = control.own('1,3', { validFor: 60_000 });
        await delay(700);
      });
      const { validFor } = (await answer)!;
      assert.ok(validFor! > 0 && validFor! <= 59_300, `${validFor}`);
      await stopped(async () => {
        answer = control.own('1,2', { validFor: 300 });
        await delay(700);
      });
      assert.equal((await answer)!.validFor, 0);
    });
    run.child.kill('SIGTERM');
    assert.equal((await run.outcome).status, 0);
  });

  test('engines of two namespaces, and of two names, are told apart', async () => {
    await using lab = await wire();
    const other = await start(lab.sender);
    const named = await start(lab.node, '--name', 'inner', '--queue', '7');
    const here = await start(lab.node);
    await command(lab.node, 'own', '+2');
    await command(lab.node, 'own', '+3', '--name', 'inner');
    assert.deepEqual(await command(lab.sender, 'own'), ok('1\n'));
    assert.deepEqual(await cli(['own', '--netns', lab.node.path]).outcome, ok('1,2\n'));
    assert.deepEqual(await command(lab.node, 'own', '--name', 'inner'), ok('1,3\n'));
    for (const run of [other, named, here]) {
      run.child.kill('SIGTERM');
      assert.equal((await run.outcome).status, 0);
    }
  });
});

test('open() with control, and Control: the same from programs', { skip }, async (t) => {
  await using lab = await wire();
  const directory = await mkdtemp(join(tmpdir(), 'nfq-cluster-test-'));
  t.after(() => rm(directory, { recursive: true }));
  const path = join(directory, 'e.sock');
  const share = { buckets: 8, ownership: { buckets: [0, 1], validFor: 60_000 } };
  await using engine = await open({
    ...share,
    interfaces: ['eth0'],
    hashSeed: SEED,
    netns: lab.node.path,
    control: path,
  });
  const control = new Control({ path });
  const { ownedBuckets, validFor, nodes } = await control.own('+5');
  assert.deepEqual({ ownedBuckets, nodes }, { ownedBuckets: [0, 1, 5], nodes: null });
  assert.ok(validFor! > 0 && validFor! <= 60_000);
  assert.deepEqual(engine.ownership.buckets, [0, 1, 5]);
  await engine.own('-0-1');
  assert.deepEqual((await control.status()).ownedBuckets, [5]);
  assert.equal((await control.own('1-3', { validFor: 1 })).ownedBuckets.length, 3);
  await waitFor('the deadline', () => engine.ownership.validFor === 0);
  for (const wrong of [NaN, -Infinity, 0, null] as number[]) {
    const refused = { code: 'ERR_INVALID_OPTION', message: /for validFor/ };
    await assert.rejects(control.own('1-3', { validFor: wrong }), refused);
    await assert.rejects(engine.own('1-3', { validFor: wrong }), refused);
  }
  for (const wrong of [{ validfor: 5000 }, null, 5000] as object[]) {
    const refused = { code: 'ERR_INVALID_OPTION', message: /validFor/ };
    await assert.rejects(control.own('1-3', wrong), refused);
    await assert.rejects(engine.own('1-3', wrong), refused);
  }
  for (const wrong of [10n, null, 5] as unknown as string[]) {
    await assert.rejects(control.own(wrong), { code: 'ERR_INVALID_OPTION' });
    await assert.rejects(engine.own(wrong), { code: 'ERR_INVALID_OPTION' });
  }
  assert.equal(engine.ownership.validFor, 0);
  assert.equal((await control.own('1-3', { validFor: Infinity })).validFor, null);
  await assert.rejects(control.own('+5', { validFor: Infinity }), { code: 'ERR_INVALID_OPTION' });
  await control.own('1-3', { validFor: 1 });
  await waitFor('the deadline', () => engine.ownership.validFor === 0);
  await assert.rejects(control.own('+5'), { code: 'ERR_EXPIRED' });
  await assert.rejects(control.own('+8'), { code: 'ERR_INVALID_OPTION' });
  const more = await Promise.allSettled(Array.from({ length: 20 }, () => engine.own('0')));
  assert.ok(more.every(({ status }) => status === 'fulfilled'));
  const results = await Promise.allSettled([control, control, control].map((c) => c.own('+7')));
  const outcomes = results.map(({ status }) => status);
  assert.equal(outcomes.filter((status) => status === 'fulfilled').length, 1);
  await engine.close();
  await assert.rejects(control.status(), { code: 'ERR_NO_ENGINE' });
  await assert.rejects(engine.own('1'), { code: 'ERR_CLOSED' });
  assert.deepEqual(await readdir(directory), []);
});
