/* Surroundings in which a process sees or may do less than others: it refuses, or does without, and says which. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmod, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, test } from 'node:test';
import { apply, revert } from '../../src/index.js';
import { findProgram } from '../../src/setup/exec.js';
import { hiddenFromOthers, NET_ADMIN_ALONE, openFolder } from '../support/capabilities.js';
import { cli, root, share, type Outcome } from '../support/processes.js';
import { stateOf } from '../support/state.js';
import { echoServer, tcpExchange } from '../support/tcp.js';
import { CLUSTER, CLUSTER_MAC, clusterOptions, wire, type Wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

const FLAGS = [
  ...['--interface', 'eth0', '--mac', `eth0=${CLUSTER.mac}`],
  ...['--address', `eth0=${CLUSTER.ipv4}/24`, ...share(1, 2)],
];

/** Runs a shell script in a mount namespace of its own, and then the program. */
const mounted = (script: string): string[] => [
  ...['timeout', '-s', 'KILL', '20', 'unshare', '--mount'],
  ...['sh', '-ec', `${script}; exec "$@"`, 'sh'],
];

describe('where a part of /proc is hidden', { skip }, () => {
  for (const [what, mount] of [
    ['/proc/net/dev', 'mount -t proc -o subset=pid proc /proc'],
    ['/proc/sys/net/ipv4/conf/all', 'mount -t tmpfs none /proc/sys'],
  ] as const) {
    const wrapper = mounted(mount);

    test(`nothing is changed without ${what}`, async () => {
      await using at = await wire();
      const refused = async (...line: string[]): Promise<void> => {
        const before = await stateOf(at.node);
        const { status, stderr } = await cli(line, { namespace: at.node, wrapper }).outcome;
        assert.equal(status, 1);
        assert.ok(stderr.includes(`nfq-cluster: Cannot see ${what}: `), stderr);
        assert.equal(await stateOf(at.node), before);
      };
      await refused('run', '--control', 'none', ...FLAGS);
      await refused('run', '--control', 'none', '--rules', 'xtables', ...FLAGS);
      await refused('apply', ...FLAGS);
      await apply(clusterOptions(at.node));
      await refused('revert');
      await revert({ netns: at.node.path });
    });
  }

  test('all of it: the reason is told', async () => {
    await using at = await wire();
    const told = async (...line: string[]): Promise<string> => {
      const wrapper = mounted('umount --lazy /proc');
      const { stdout, stderr } = await cli(line, { namespace: at.node, wrapper }).outcome;
      return stdout + stderr;
    };
    const socket = /Cannot see \/proc\/self\/ns\/net: /;
    assert.match(await told('run', '--control', 'auto', ...FLAGS), socket);
    assert.match(await told('status'), socket);
    const found = await told('doctor', ...FLAGS);
    assert.match(found, /^skipped +privileges: Not known: Cannot see \/proc\/self\/status: /m);
    assert.match(found, /^skipped +engine: Cannot see \/proc\/self\/ns\/net: /m);
  });
});

describe('where /proc/sys cannot be written', { skip }, () => {
  test('a setup that has to write there is not reverted in part', async () => {
    await using at = await wire();
    await apply(clusterOptions(at.node));
    const before = await stateOf(at.node);
    const wrapper = mounted('mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys');
    const { status, stderr } = await cli(['revert'], { namespace: at.node, wrapper }).outcome;
    assert.equal(status, 1);
    assert.match(
      stderr,
      /The kernel parameter \/proc\/sys\/net\/\S+ cannot be written\. Set net\//,
    );
    assert.equal(await stateOf(at.node), before);
    await revert({ netns: at.node.path });
  });
});

test('a user namespace without rights over the network namespace is told', { skip }, async () => {
  await using at = await wire();
  const wrapper = ['unshare', '--user', '--map-root-user'];
  const line = ['doctor', ...FLAGS];
  const { status, stdout } = await cli(line, { namespace: at.node, wrapper }).outcome;
  assert.equal(status, 1);
  assert.match(stdout, /^error +privileges: .* is refused what that permits$/m);
});

test("BusyBox's ip is told as what is missing", { skip }, async () => {
  await using at = await wire();
  await using folder = await openFolder();
  const ip = path.join(folder.path, 'ip');
  await writeFile(ip, "#!/bin/sh\necho 'BusyBox v1.36.1 multi-call binary.' >&2; exit 1\n");
  await chmod(ip, 0o755);
  const env = { PATH: `${folder.path}:${process.env['PATH']!}` };
  const told = async (command: string): Promise<string> => {
    const line = [command, ...FLAGS];
    const { status, stdout, stderr } = await cli(line, { namespace: at.node, env }).outcome;
    assert.equal(status, 1);
    return stdout + stderr;
  };
  const missing = /the ip of BusyBox cannot do that\. Install the package iproute2 /;
  assert.match(await told('apply'), missing);
  assert.match(await told('doctor'), new RegExp(`^error +programs: .*${missing.source}`, 'm'));
});

test('process 1 is left no processes of others', { skip }, async () => {
  await using at = await wire();
  const options = { ...clusterOptions(at.node), netns: undefined };
  const script = `
    import { readdirSync } from 'node:fs';
    import { apply, revert } from ${JSON.stringify(path.join(root, 'dist/index.js'))};
    await apply(${JSON.stringify(options)});
    await revert();
    const others = () => readdirSync('/proc').filter((name) => /^\\d+$/.test(name) && name !== '1');
    for (const end = Date.now() + 5000; others().length > 0 && Date.now() < end; )
      await new Promise((resolve) => setTimeout(resolve, 10));
    console.log(process.pid, others());`;
  const first = ['--pid', '--fork', '--mount-proc', '--kill-child', process.execPath];
  const line = [...first, '--input-type=module', '--eval', script];
  assert.equal(await at.node.run('unshare', line), '1 []\n');
});

/** Runs a shell script as root of a user namespace, which may have no further namespaces of a kind. */
function limited(kind: string, script: string): string {
  const interfaces = 'ip link add eth0 type veth peer name eth1; ip link set eth0 up';
  const limit = `echo 0 > /proc/sys/user/max_${kind}_namespaces`;
  const way = ['--user', '--map-root-user', '--net', '--mount', '--fork', 'sh', '-ec'];
  const line = [...way, `${interfaces}; ${limit}; ${script}`, 'sh', process.execPath, MAIN];
  const { status, stdout, stderr } = spawnSync('unshare', line, { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return stdout;
}

const MAIN = path.join(root, 'dist/cli/main.js');
const APPLY = `apply --interface eth0 ${share(1, 2).join(' ')}`;
const LOOSE = '/proc/sys/net/netfilter/nf_conntrack_tcp_loose';

describe('where no further namespaces may be made', { skip }, () => {
  for (const [kind, wrapper] of [
    ['net', ''],
    ['user', 'setpriv --bounding-set=-sys_admin'],
  ] as const) {
    test(`a node is set up without a trial: of kind ${kind}`, () => {
      const script = `${wrapper} "$@" ${APPLY} 2>&1; cat ${LOOSE}; "$@" revert`;
      assert.match(limited(kind, script), /\n0\n$/);
    });
  }

  test('doctor does not ask for the options that it has, and tells why it does not compare', () => {
    const doctor = APPLY.replace('apply', 'doctor');
    const found = limited('net', `"$@" ${APPLY} 2>&1; "$@" ${doctor} || true; "$@" revert`);
    assert.match(found, /^skipped +setup: .*\n +That takes a network namespace /m);
  });

  test("the kernel's module for connections is loaded before its parameters are read", async () => {
    await using folder = await openFolder();
    // The module's parameters appear when nft is first asked for connections.
    const hidden = path.dirname(LOOSE);
    const nft = path.join(folder.path, 'nft');
    const real = findProgram('nft')!;
    await writeFile(
      nft,
      `#!/bin/sh
      input=; case "$*" in *-f\\ -) input=$(cat; echo .); input=\${input%.};; esac
      case "$* $input" in --check*"ct state"*) umount ${hidden};; esac
      printf %s "$input" | ${real} "$@"`,
    );
    await chmod(nft, 0o755);
    const script = `mount -t tmpfs none ${hidden}; PATH=${folder.path}:$PATH; "$@" ${APPLY} 2>&1; cat ${LOOSE}`;
    assert.match(limited('net', script), /\n0\n$/);
  });
});

const NODE_FLAGS = [
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

/* Enough for an ordinary user to set a node up and decide packets. */
describe('with CAP_NET_ADMIN alone', { skip: skip || hiddenFromOthers() }, () => {
  test('a node is set up, and reverted without a trace', async () => {
    await using at = await wire();
    const before = await stateOf(at.node);
    assertQuiet(await asNobody(at, 'apply', ...NODE_FLAGS, '--cluster-local-node', '1').outcome);
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
    const more = ['--cluster-local-node', '1,2', '--control', control, '--json'];
    const run = asNobody(at, 'run', ...NODE_FLAGS, ...more);
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
    const more = ['--cluster-local-node', '1', '--control', 'none', '--realtime', '1'];
    const { status, stderr } = await asNobody(at, 'run', ...NODE_FLAGS, ...more).outcome;
    assert.equal(status, 1);
    assert.match(stderr, /cannot run a queue thread by SCHED_FIFO 1\b.*CAP_SYS_NICE/i);
    assert.equal(await stateOf(at.node), before);
  });

  test('a queue that another has is told as taken, though its list may not be read', async () => {
    await using at = await wire();
    const more = ['--cluster-local-node', '1', '--control', 'none', '--json'];
    const first = cli(['run', ...NODE_FLAGS, ...more], { namespace: at.node });
    await first.event('ready');
    const other = ['run', ...NODE_FLAGS, ...more, '--rules', 'none'];
    const { status, stderr } = await asNobody(at, ...other).outcome;
    assert.equal(status, 1);
    assert.match(stderr, /queue 0 is taken/i);
    first.child.kill('SIGINT');
    assertQuiet(await first.outcome);
  });
});
