/* What plan, apply and status --setup say on the command line, and what apply refuses. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, test } from 'node:test';
import type { Plan, SetupStatus } from '../../src/index.js';
import { native } from '../../src/native.js';
import { SETUP } from '../support/doctor.js';
import { cli, root, type Outcome } from '../support/processes.js';
import { stateOf } from '../support/state.js';
import { CLUSTER, wire, type Wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

const nfqCluster = (at: Wire, args: string[], wrapper: string[] = []): Promise<Outcome> =>
  cli(args, { namespace: at.node, wrapper }).outcome;

async function applied(at: Wire): Promise<void> {
  const { status, stderr } = await nfqCluster(at, ['apply', ...SETUP]);
  assert.equal(status, 0, stderr);
}

/** Exit status, and the states of all steps, each once. */
async function states(at: Wire): Promise<[number | string, string[]]> {
  const { status, stdout } = await nfqCluster(at, ['status', '--setup', ...SETUP, '--json']);
  const { steps } = JSON.parse(stdout) as SetupStatus;
  return [status, [...new Set(steps!.map(({ state }) => state))].sort()];
}

const WHOLE = [0, ['in place']];
const CHANGED = [1, ['changed', 'in place']];

/** /proc/sys as a container has it. */
const READ_ONLY = [
  ...['unshare', '--mount', 'sh', '-ec'],
  'mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys; exec "$@"',
  'sh',
];

describe('status --setup', { skip }, () => {
  test('with the flags of apply lists every step', async () => {
    await using at = await wire();
    await applied(at);
    const { status, stdout } = await nfqCluster(at, ['status', '--setup', ...SETUP]);
    assert.equal(status, 0);
    const planned = await nfqCluster(at, ['plan', ...SETUP, '--json']);
    for (const { what } of (JSON.parse(planned.stdout) as Plan).steps)
      assert.ok(stdout.includes(`yes     ${what}\n`), what);
  });

  const EDITS: Record<string, string> = {
    'a chain was flushed': 'nft flush chain inet nfq-cluster-q0 for-host',
    'a rule was added': 'nft insert rule arp nfq-cluster-q0 neighbours accept',
    'a table was made dormant': "nft 'add table inet nfq-cluster-q0 { flags dormant; }'",
    'a table was removed': 'nft delete table arp nfq-cluster-q0',
  };
  for (const [name, edit] of Object.entries(EDITS)) {
    test(`says changed when ${name}, until apply`, async () => {
      await using at = await wire();
      await applied(at);
      assert.deepEqual(await states(at), WHOLE);
      await at.node.run('sh', ['-ec', edit]);
      assert.deepEqual(await states(at), CHANGED);
      await applied(at);
      assert.deepEqual(await states(at), WHOLE);
    });
  }

  test('says changed when a rule was added to a chain of xtables', async () => {
    await using at = await wire();
    const byXtables = [...SETUP, '--rules', 'xtables'];
    const { status, stderr } = await nfqCluster(at, ['apply', ...byXtables]);
    assert.equal(status, 0, stderr);
    await at.node.run('iptables-nft', [...'-t mangle -I nfq-cluster-q0 -j ACCEPT'.split(' ')]);
    const asked = await nfqCluster(at, ['status', '--setup', ...byXtables]);
    assert.equal(asked.status, 1);
    assert.match(asked.stdout, /^CHANGED install the iptables-nft rules$/m);
  });

  test('says changed when the rule of nft-compat is lost or another one, until apply', async (t) => {
    if (native.probeQueue().target !== 0) return t.skip('the kernel has no such rule');
    await using at = await wire();
    const queues = ['--queue', '0-1', '--queue-cpu-fanout'];
    const byCompat = [...SETUP, '--rules', 'nft-compat', '--offload', 'sources', ...queues];
    const asked = async (command: string[]): Promise<Outcome['status']> =>
      (await nfqCluster(at, [...command, ...byCompat])).status;
    const status = ['status', '--setup'];
    assert.deepEqual([await asked(['apply']), await asked(status)], [0, 0]);
    await at.node.run('nft', ['flush chain inet nfq-cluster-q0 nfqueue']);
    assert.equal(await asked(status), 1);
    assert.deepEqual([await asked(['apply']), await asked(status)], [0, 0]);
    for (const other of [['0-3'], ['0-1'], ['0-2', '--queue-cpu-fanout']]) {
      const rule = ['queue-rule', '--name', 'q0', '--queue', ...other];
      assert.equal((await nfqCluster(at, rule)).status, 0);
      assert.equal(await asked(status), 1, other.join(' '));
      assert.deepEqual([await asked(['apply']), await asked(status)], [0, 0]);
    }
  });

  test('says what is missing', async () => {
    await using at = await wire();
    assert.deepEqual((await states(at))[0], 1);
    await applied(at);
    await at.node.run('ip', ['maddress', 'del', CLUSTER.mac, 'dev', 'eth0']);
    assert.deepEqual(await states(at), [1, ['in place', 'missing']]);
  });

  test('is the only status that takes them', async () => {
    const { status, stderr } = await cli(['status', ...SETUP]).outcome;
    assert.equal(status, 2);
    assert.match(stderr, /the flags of a setup need --setup/);
  });
});

/** Starts a program with both outputs to one who reads neither. */
const UNREAD = ['sh', '-c', '{ "$@"; echo $? >&3; } 3>&2 2>&1 | true', 'sh'];

describe('plan and apply', { skip }, () => {
  test('do their work though nobody reads what they say', async () => {
    await using at = await wire();
    for (const command of ['plan', 'apply']) {
      const { stderr } = await nfqCluster(at, [command, ...SETUP], UNREAD);
      assert.equal(stderr, '0\n', command);
    }
    assert.deepEqual(await states(at), WHOLE);
  });

  test('print the plan as JSON: the same before, with what was in place after', async () => {
    await using at = await wire();
    const before = await stateOf(at.node);
    const asked = async (command: string): Promise<Plan> => {
      const { status, stdout, stderr } = await nfqCluster(at, [command, ...SETUP, '--json']);
      assert.equal(status, 0, stderr);
      return JSON.parse(stdout) as Plan;
    };
    const plan = await asked('plan');
    assert.equal(await stateOf(at.node), before);
    assert.equal(plan.name, 'q0');
    assert.equal(plan.steps[0]!.what, 'install the nft rules');
    assert.deepEqual(plan.steps.at(-1)!.args.slice(0, 3), ['address', 'add', '10.1.0.10/24']);
    assert.deepEqual(await asked('apply'), plan);
    const again = await asked('plan');
    const kept = again.steps.filter(({ program }) => program === 'ip' || program === 'sysctl');
    assert.ok(kept.length > 3 && kept.every(({ inPlace }) => inPlace));
  });

  test('warn that ssh is cut off, where all that enters is decided', async () => {
    await using at = await wire();
    const warned = async (...more: string[]): Promise<boolean> => {
      const { stderr } = await nfqCluster(at, ['plan', ...SETUP, ...more]);
      return stderr.includes(
        'until an engine decides, all packets that arrive on eth0 are dropped, including ssh',
      );
    };
    assert.equal(await warned(), true);
    assert.equal(await warned('--destinations', 'eth0=addresses'), false);
    assert.equal(await warned('--action', 'mark'), true);
    const { stderr } = await nfqCluster(at, ['apply', ...SETUP]);
    assert.match(stderr, /^nfq-cluster: until an engine decides/);
  });

  test('say what becomes of packets once it stands', async () => {
    await using at = await wire();
    const said = async (...more: string[]): Promise<string> =>
      (await nfqCluster(at, ['apply', ...SETUP, '--replace', ...more])).stderr;
    assert.match(await said(), /; packets are dropped until "nfq-cluster run" decides them\n$/);
    const narrow = ['--destinations', 'eth0=addresses'];
    assert.match(await said(...narrow), /; packets to its cluster addresses are dropped until/);
    const run = cli(['run', ...SETUP, ...narrow, '--json'], { namespace: at.node });
    await run.event('ready');
    assert.match(await said(...narrow), /; its queue has a listener\n$/);
    run.child.kill();
    await run.outcome;
  });

  test('refuse a /proc/sys that cannot be written before anything is changed', async () => {
    await using at = await wire();
    await at.node.sysctl({ 'netfilter/nf_conntrack_tcp_loose': 1 });
    const before = await stateOf(at.node);
    for (const command of ['apply', 'run']) {
      const { status, stderr } = await nfqCluster(at, [command, ...SETUP], READ_ONLY);
      assert.equal(status, 1);
      assert.match(stderr, /kernel parameter \/proc\/sys\/net\/\S+ cannot be written/);
      assert.match(stderr, /Set net\/netfilter\/nf_conntrack_tcp_loose=0.* from outside/);
      assert.equal(await stateOf(at.node), before);
    }
    const options = JSON.stringify({ rules: 'auto' });
    const [program, ...line] = [...READ_ONLY, process.execPath, '--import', 'tsx'] as const;
    const install = path.join(root, 'test/support/rules-child.ts');
    assert.equal(await at.node.run(program, [...line, install, options]), 'ERR_READ_ONLY\n');
    assert.equal(await stateOf(at.node), before);
  });

  test('do without writing it where all is already so', async () => {
    await using at = await wire();
    await at.node.sysctl({
      'netfilter/nf_conntrack_tcp_loose': 0,
      'ipv6/conf/eth0/drop_unicast_in_l2_multicast': 0,
      'ipv4/conf/eth0/promote_secondaries': 1,
    });
    const before = await stateOf(at.node);
    const { status, stderr } = await nfqCluster(at, ['apply', ...SETUP], READ_ONLY);
    assert.equal(status, 0, stderr);
    assert.deepEqual(await states(at), WHOLE);
    assert.equal((await nfqCluster(at, ['revert'], READ_ONLY)).status, 0);
    assert.equal(await stateOf(at.node), before);
  });
});
