/* Action `mark`, with the rules of the man page behind it, and other people's mark bits. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Hasher } from '../../src/index.js';
import type { Namespace } from '../../src/lab/namespaces.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { cli, share, waitFor, type Cli } from '../support/processes.js';
import { counter } from '../support/state.js';
import { CLUSTER_MAC, NODE, wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const SOURCES = Array.from({ length: 200 }, (_, index) => `10.20.0.${index + 1}`);
const hasher = new Hasher({ totalNodes: 2, hashSeed: 0 });
const OWNED = SOURCES.filter((source) => hasher.node(source) === 1).length;
const FOREIGN = SOURCES.length - OWNED;

/** Counts, behind us, packets by their whole mark. */
const counts = (owned: string, foreign: string): string => `table inet user {
  counter passed { }
  counter owned { }
  counter foreign { }
  chain last {
    type filter hook prerouting priority 0
    iifname eth0 udp dport 9 counter name passed
    iifname eth0 udp dport 9 meta mark ${owned} counter name owned
    iifname eth0 udp dport 9 meta mark ${foreign} counter name foreign
  }
}`;

const counted = (node: Namespace, name: string): Promise<number> => counter(node, 'user', name);

async function start(node: Namespace, flags: readonly string[] = []): Promise<Cli> {
  const mark = ['--action', 'mark', ...flags];
  const run = cli(['run', '--interface', 'eth0', ...mark, ...share(1, 2), '--json'], {
    namespace: node,
  });
  await run.event('ready');
  return run;
}

const marks = [
  { flags: [], before: '0xc0ab1234', owned: '0x00abffff', foreign: '0x00ab0000' },
  {
    flags: ['--mark', '0x1/0xf'],
    before: '0x00abcdef',
    owned: '0x00abcde1',
    foreign: '0x00abcde0',
  },
];

describe('action mark', { skip }, () => {
  for (const { flags, before, owned, foreign } of marks) {
    test(`marks what is owned, lets all pass, and keeps other bits: ${flags.join(' ')}`, async () => {
      await using lab = await wire();
      await lab.node.run('nft', ['-f', '-'], counts(owned, foreign));
      const first = `table inet first { chain c { type filter hook prerouting priority raw; meta mark set ${before}; }; }`;
      await lab.node.run('nft', [first]);
      const run = await start(lab.node, flags);
      const frames = SOURCES.map((src) => udp({ src, dst: NODE.ipv4 }));
      await inject(lab.sender, 'eth0', frames);
      await waitFor('all', async () => (await counted(lab.node, 'passed')) === SOURCES.length);
      assert.equal(await counted(lab.node, 'owned'), OWNED);
      assert.equal(await counted(lab.node, 'foreign'), FOREIGN);
      run.child.kill('SIGTERM');
      assert.equal((await run.outcome).status, 0);
    });
  }

  test("the man page's drop rule, in xtables, sees the mark and no other bit", async () => {
    await using lab = await wire();
    await lab.node.run('nft', ['-f', '-'], counts('0xffff', '0'));
    const run = await start(lab.node);
    const drop = ['-i', 'eth0', '-m', 'mark', '!', '--mark', '0xffff', '-j', 'DROP'];
    await lab.node.run('iptables', ['-t', 'mangle', '-A', 'PREROUTING', ...drop]);
    // In multicast frames, which our rules mark for the engine.
    const frames = SOURCES.map((src) => udp({ src, dst: NODE.ipv4, ethDst: CLUSTER_MAC }));
    await lab.node.run('ip', ['maddress', 'add', CLUSTER_MAC, 'dev', 'eth0']);
    await inject(lab.sender, 'eth0', frames);
    const dropped = async (): Promise<number> => {
      const saved = await lab.node.run('iptables-save', ['-c', '-t', 'mangle']);
      return Number(/^\[(\d+):\d+\] -A PREROUTING .* -j DROP$/m.exec(saved)![1]);
    };
    await waitFor('the foreign packets', async () => (await dropped()) === FOREIGN);
    await waitFor('the owned ones', async () => (await counted(lab.node, 'owned')) === OWNED);
    assert.equal(await counted(lab.node, 'passed'), OWNED);
    run.child.kill('SIGTERM');
    assert.equal((await run.outcome).status, 0);
  });
});
