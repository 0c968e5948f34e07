/* `run` from start to end: stopped, killed, started again; and what stays of it. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import type { Namespace } from '../../src/lab/namespaces.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { cli, root, share, waitFor, type Cli } from '../support/processes.js';
import { counter } from '../support/state.js';
import { NODE, SENDER, wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

const USER_RULES = `table inet user {
  counter arrived { }
  set friends {
    type ipv4_addr
    elements = { 192.0.2.1, 192.0.2.2 }
  }
  chain input {
    type filter hook input priority 0
    udp dport 9 counter name arrived
  }
}
table ip nfq-clusters {
  chain other { }
}`;

/** Without counters, which packets change. */
async function rulesOf(node: Namespace): Promise<string> {
  const all = [
    await node.run('nft', ['list', 'ruleset']),
    await node.run('iptables-legacy-save', []),
    await node.run('ip6tables-legacy-save', []),
  ].join('\n');
  return all
    .replace(/packets \d+ bytes \d+/g, '')
    .replace(/\[\d+:\d+\]/g, '')
    .replace(/^#.*\n/gm, '');
}

const arrived = (node: Namespace): Promise<number> => counter(node, 'user', 'arrived');

const args = ['run', '--interface', 'eth0', ...share(1, 1), '--json'];
const runLine = [path.join(root, 'dist/cli/main.js'), ...args];

async function start(node: Namespace): Promise<Cli> {
  const run = cli(args, { namespace: node });
  await run.event('ready');
  return run;
}

const frames = Array.from({ length: 10 }, () => udp({ src: SENDER.ipv4, dst: NODE.ipv4 }));

describe('run', { skip }, () => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    test(`removes its rules, and no others, on ${signal}`, async () => {
      await using lab = await wire();
      await lab.node.run('nft', ['-f', '-'], USER_RULES);
      const before = await rulesOf(lab.node);
      const run = await start(lab.node);
      await inject(lab.sender, 'eth0', frames);
      await waitFor('the packets', async () => (await arrived(lab.node)) === frames.length);
      assert.notEqual(await rulesOf(lab.node), before);
      run.child.kill(signal);
      assert.equal((await run.outcome).status, 0);
      assert.equal(await rulesOf(lab.node), before);
    });
  }

  test('ends, and removes its rules, though nobody reads what it writes', async () => {
    await using lab = await wire();
    const before = await rulesOf(lab.node);
    const directory = mkdtempSync(path.join(tmpdir(), 'nfq-cluster-test-'));
    const fifo = path.join(directory, 'output');
    execFileSync('mkfifo', [fifo]);
    const output = openSync(fifo, 'r+');
    try {
      writeSync(output, Buffer.alloc(65_536)); // all that a pipe holds
      const child = lab.node.spawn(process.execPath, runLine, {
        stdio: ['ignore', output, 'pipe'],
      });
      let stderr = '';
      child.stderr!.on('data', (chunk) => (stderr += String(chunk)));
      await waitFor('it to be ready', () => stderr.includes('ready: '));
      child.kill('SIGTERM');
      await waitFor('it to end', () => child.exitCode !== null || child.signalCode !== null);
      assert.equal(child.exitCode, 0, stderr);
    } finally {
      closeSync(output);
      rmSync(directory, { recursive: true });
    }
    assert.equal(await rulesOf(lab.node), before);
  });

  test('killed, nothing gets in; started again, it goes on; stopped, it leaves no trace', async () => {
    await using lab = await wire();
    await lab.node.run('nft', ['-f', '-'], USER_RULES);
    const before = await rulesOf(lab.node);
    const first = await start(lab.node);
    first.child.kill('SIGKILL');
    await first.outcome;

    const received = async (): Promise<number> => {
      const link = await lab.node.run('ip', ['-json', '-statistics', 'link', 'show', 'eth0']);
      return (JSON.parse(link) as [{ stats64: { rx: { packets: number } } }])[0].stats64.rx.packets;
    };
    const already = await received();
    await inject(lab.sender, 'eth0', frames);
    await waitFor('the frames', async () => (await received()) >= already + frames.length);
    assert.equal(await arrived(lab.node), 0);

    const second = await start(lab.node);
    await inject(lab.sender, 'eth0', frames);
    await waitFor('the packets', async () => (await arrived(lab.node)) === frames.length);
    second.child.kill('SIGTERM');
    assert.equal((await second.outcome).status, 0);
    assert.equal(await rulesOf(lab.node), before);
  });

  test('refuses before it changes anything', async () => {
    await using lab = await wire();
    const first = await start(lab.node);
    const standing = await rulesOf(lab.node);
    const attempts = [
      {
        args: ['--interface', 'eth0', ...share(1, 2), '--name', 'other'],
        says: /Queue 0 is taken/,
      },
      { args: ['--interface', 'nope', '--queue', '1', ...share(1, 2)], says: /No interface nope/ },
    ];
    for (const { args, says } of attempts) {
      const { status, stderr } = await cli(['run', ...args], { namespace: lab.node }).outcome;
      assert.equal(status, 1, stderr);
      assert.match(stderr, says);
      assert.equal(await rulesOf(lab.node), standing);
    }
    first.child.kill('SIGTERM');
    await first.outcome;
  });

  test('without privilege it says so', async () => {
    await using lab = await wire();
    const { status, stderr } = await cli(
      ['run', '--interface', 'eth0', '--rules', 'none', ...share(1, 2)],
      {
        namespace: lab.node,
        wrapper: ['setpriv', '--bounding-set', '-all', '--reuid', '65534', '--clear-groups'],
      },
    ).outcome;
    assert.equal(status, 1);
    assert.match(stderr, /CAP_NET_ADMIN/);
  });
});
