/* Action `mark`, with the rules of the man page behind it, and other people's mark bits. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Hasher } from '../../src/index.js';
import type { Namespace } from '../../src/lab/namespaces.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { cli, share, waitFor } from '../support/processes.js';
import { counter } from '../support/state.js';
import { NODE, wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const SOURCES = Array.from({ length: 200 }, (_, index) => `10.20.0.${index + 1}`);
const hasher = new Hasher({ totalNodes: 2, hashSeed: 0 });
const OWNED = SOURCES.filter((source) => hasher.node(source) === 1).length;

/** A mark of the user's own before us, bits of ours that do not belong there, and a count behind us. */
const USER_RULES = `table inet user {
  counter kept { }
  counter strange { }
  counter owned { }
  counter foreign { }
  chain first {
    type filter hook prerouting priority raw
    meta mark set 0xc0ab1234
  }
  chain last {
    type filter hook prerouting priority 0
    iifname eth0 udp dport 9 meta mark & 0xffff0000 == 0x00ab0000 counter name kept
    iifname eth0 udp dport 9 meta mark & 0xffff0000 != 0x00ab0000 counter name strange
    iifname eth0 udp dport 9 meta mark & 0x0000ffff == 0x0000ffff counter name owned
    iifname eth0 udp dport 9 meta mark & 0x0000ffff == 0x00000000 counter name foreign
  }
}`;

const counted = (node: Namespace, name: string): Promise<number> => counter(node, 'user', name);

const frames = SOURCES.map((src) => udp({ src, dst: NODE.ipv4 }));

describe('action mark', { skip }, () => {
  test('marks owned packets, lets all pass, and keeps all other bits of the mark', async () => {
    await using lab = await wire();
    await lab.node.run('nft', ['-f', '-'], USER_RULES);
    const run = cli(['run', '--interface', 'eth0', '--action', 'mark', ...share(1, 2), '--json'], {
      namespace: lab.node,
    });
    await run.event('ready');
    await inject(lab.sender, 'eth0', frames);
    await waitFor('all packets', async () => (await counted(lab.node, 'kept')) === SOURCES.length);
    assert.equal(await counted(lab.node, 'strange'), 0);
    assert.equal(await counted(lab.node, 'owned'), OWNED);
    assert.equal(await counted(lab.node, 'foreign'), SOURCES.length - OWNED);
    run.child.kill('SIGTERM');
    assert.equal((await run.outcome).status, 0);
  });

  test("the man page's drop rule, in xtables, sees the mark", async () => {
    await using lab = await wire();
    await lab.node.run('nft', ['-f', '-'], USER_RULES);
    const run = cli(['run', '--interface', 'eth0', '--action', 'mark', ...share(1, 2), '--json'], {
      namespace: lab.node,
    });
    await run.event('ready');
    const drop = ['-i', 'eth0', '-m', 'mark', '!', '--mark', '0xffff/0xffff', '-j', 'DROP'];
    await lab.node.run('iptables', ['-t', 'mangle', '-A', 'PREROUTING', ...drop]);
    await inject(lab.sender, 'eth0', frames);
    const dropped = async (): Promise<number> => {
      const saved = await lab.node.run('iptables-save', ['-c', '-t', 'mangle']);
      return Number(/^\[(\d+):\d+\] -A PREROUTING .* -j DROP$/m.exec(saved)![1]);
    };
    const foreign = SOURCES.length - OWNED;
    await waitFor('the foreign packets', async () => (await dropped()) === foreign);
    await waitFor('the owned ones', async () => (await counted(lab.node, 'owned')) === OWNED);
    assert.equal(await counted(lab.node, 'foreign'), 0);
    run.child.kill('SIGTERM');
    assert.equal((await run.outcome).status, 0);
  });
});
