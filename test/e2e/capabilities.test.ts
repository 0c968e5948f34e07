/* CAP_NET_ADMIN alone is enough: an ordinary user who has it sets a node up and decides packets. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, test } from 'node:test';
import { hiddenFromOthers, NET_ADMIN_ALONE, openFolder } from '../support/capabilities.js';
import { cli, type Outcome } from '../support/processes.js';
import { stateOf } from '../support/state.js';
import { echoServer, tcpExchange } from '../support/tcp.js';
import { CLUSTER, CLUSTER_MAC, wire, type Wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? hiddenFromOthers() : 'needs root';

const SHARED = [
  ...['-i', 'eth0', '--address', `eth0=${CLUSTER.ipv4}/24`, '--mac', `eth0=${CLUSTER_MAC}`],
  ...['--cluster-total-nodes', '2', '--cluster-hash-seed', '0'],
];

const UNANSWERED = `const s = require('net').connect(7, '${CLUSTER.ipv4}').on('connect', () => process.exit(1));
  s.setTimeout(700, () => { process.stdout.write('no answer'); s.destroy(); });`;

const asNobody = (at: Wire, ...args: string[]) =>
  cli(args, { namespace: at.node, wrapper: NET_ADMIN_ALONE });

function assertQuiet({ status, stderr }: Outcome): void {
  assert.equal(status, 0, stderr);
}

describe('with CAP_NET_ADMIN alone', { skip }, () => {
  test('a node is set up, and reverted without a trace', async () => {
    await using at = await wire();
    const before = await stateOf(at.node);
    assertQuiet(await asNobody(at, 'apply', ...SHARED, '--cluster-local-node', '1').outcome);
    assertQuiet(await asNobody(at, 'status', '--setup').outcome);
    assert.match(await stateOf(at.node), /nfq-cluster-q0/);
    assertQuiet(await asNobody(at, 'revert').outcome);
    assert.equal(await stateOf(at.node), before);
  });

  test('run decides packets, by what it owns now', async () => {
    await using at = await wire();
    await using folder = await openFolder();
    const before = await stateOf(at.node);
    const control = path.join(folder.path, 'control.sock');
    const share = ['--cluster-local-node', '1,2', '--control', control, '--json'];
    const run = asNobody(at, 'run', ...SHARED, ...share);
    await run.event('ready');
    await echoServer(at.node, CLUSTER.ipv4, 7);
    const exchange = (): Promise<string> => tcpExchange(at.sender, CLUSTER.ipv4, 7, 'hello');
    assert.equal(await exchange(), 'hello');
    const own = async (change: string): Promise<void> =>
      assertQuiet(await asNobody(at, 'own', change, '--control', control).outcome);
    await own('none');
    assert.equal(await at.sender.run(process.execPath, ['-e', UNANSWERED]), 'no answer');
    await own('1,2');
    assert.equal(await exchange(), 'hello');
    run.child.kill('SIGINT');
    assertQuiet(await run.outcome);
    assert.equal(await stateOf(at.node), before);
  });

  test('real time is refused before anything is changed', async () => {
    await using at = await wire();
    const before = await stateOf(at.node);
    const share = ['--cluster-local-node', '1', '--control', 'none', '--realtime', '1'];
    const { status, stderr } = await asNobody(at, 'run', ...SHARED, ...share).outcome;
    assert.equal(status, 1);
    assert.match(stderr, /cannot run a queue thread by SCHED_FIFO 1\b.*CAP_SYS_NICE/i);
    assert.equal(await stateOf(at.node), before);
  });

  test('a queue that another has is told as taken, though its list may not be read', async () => {
    await using at = await wire();
    const share = ['--cluster-local-node', '1', '--control', 'none', '--json'];
    const first = cli(['run', ...SHARED, ...share], { namespace: at.node });
    await first.event('ready');
    const other = ['run', ...SHARED, ...share, '--rules', 'none'];
    const { status, stderr } = await asNobody(at, ...other).outcome;
    assert.equal(status, 1);
    assert.match(stderr, /queue 0 is taken/i);
    first.child.kill('SIGINT');
    assertQuiet(await first.outcome);
  });
});
