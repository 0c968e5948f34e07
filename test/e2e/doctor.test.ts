/* Doctor on a real node: healthy, then broken in one way at a time, and mended by what it prints. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hiddenFromOthers, NET_ADMIN_ALONE, NOBODY } from '../support/capabilities.js';
import { findProgram } from '../../src/setup/exec.js';
import { heldPackets } from '../../src/setup/held.js';
import { diagnosis, doctorLab, SETUP, type DoctorLab } from '../support/doctor.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { cli, waitFor } from '../support/processes.js';
import { stateOf } from '../support/state.js';
import { CLUSTER, NODE, SENDER, wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

/** Breaks a healthy node, sees that very error, runs the printed command, and sees the node healthy. */
async function mended(at: DoctorLab, fault: string, check: string, found: RegExp): Promise<void> {
  await at.node.run('sh', ['-ec', fault]);
  const broken = await diagnosis(at);
  assert.equal(broken.status, 1);
  assert.deepEqual(
    broken.errors.map((finding) => finding.check),
    [check],
  );
  const [{ found: said, command }] = broken.errors as [(typeof broken.errors)[0]];
  assert.match(said, found);
  await at.node.run('sh', ['-ec', command!]);
  const { status, errors } = await diagnosis(at);
  assert.deepEqual([status, errors], [0, []]);
}

const FAULTS: [name: string, fault: string, check: string, found: RegExp][] = [
  [
    'the cluster MAC is removed',
    `ip maddress del ${CLUSTER.mac} dev eth0`,
    'MAC',
    /^eth0 does not have 03:/,
  ],
  ['the interface is down', 'ip link set eth0 down', 'interface', /^eth0 is down$/],
  [
    'the cluster address is removed',
    `ip address del ${CLUSTER.ipv4}/24 dev eth0`,
    'address',
    /^eth0 does not have 10\.1\.0\.10\/24$/,
  ],
  [
    'tcp_loose is 1',
    'echo 1 >/proc/sys/net/netfilter/nf_conntrack_tcp_loose',
    'sysctl',
    /tcp_loose is 1, and must be 0$/,
  ],
  [
    'a rule of nft takes packets from connection tracking',
    `nft -f - <<END
table inet other {
  chain early { type filter hook prerouting priority raw; iifname "eth0" jump further; }
  chain further { udp dport 53 notrack; }
}
END`,
    'notrack',
    /nft's inet other further/,
  ],
  [
    'a rule of iptables-nft drops by a mark that nothing sets any more',
    'iptables-nft -t mangle -A PREROUTING -i eth0 -m mark ! --mark 0xffff -j DROP',
    'iptables rules',
    /iptables-nft, table mangle, PREROUTING 1/,
  ],
  [
    'a rule of iptables-nft takes packets from connection tracking',
    'iptables-nft -t raw -A PREROUTING -p udp --dport 53 -j CT --notrack',
    'notrack',
    /iptables-nft, table raw, PREROUTING 1/,
  ],
  [
    'a rule of iptables-legacy takes packets from connection tracking',
    'iptables-legacy -t raw -A PREROUTING -p udp --dport 53 -j CT --notrack',
    'notrack',
    /iptables-legacy, table raw, PREROUTING 1/,
  ],
  [
    'the match cluster also decides',
    'iptables-nft -A INPUT -m cluster --cluster-total-nodes 8 --cluster-local-node 7 --cluster-hash-seed 1 -j DROP',
    '-m cluster',
    /iptables-nft, table filter, INPUT 1/,
  ],
  [
    'a rule queues to our queue with bypass',
    'iptables-nft -t mangle -A FORWARD -j NFQUEUE --queue-num 0 --queue-bypass',
    'bypass',
    /every node accepts/,
  ],
  [
    'a rule queues to our queue',
    'iptables-nft -t mangle -A FORWARD -j NFQUEUE --queue-balance 0:3',
    'queue users',
    /sends packets to our queues/,
  ],
  [
    'a neighbour is resolved to a MAC of its own',
    `ip neigh replace ${CLUSTER.ipv4} lladdr 02:00:00:00:00:99 nud permanent dev eth0`,
    'peers',
    /is resolved to 02:00:00:00:00:99, not to 03:/,
  ],
];

describe('doctor', { skip }, () => {
  test('finds a healthy node healthy, by its options and without, and changes nothing', async () => {
    await using at = await doctorLab();
    const before = await stateOf(at.node);
    for (const args of [SETUP, []]) {
      const { status, errors, findings } = await diagnosis(at, args);
      assert.deepEqual([status, errors], [0, []]);
      const fine = findings.filter(({ level }) => level === 'ok').map(({ check }) => check);
      for (const check of ['MAC', 'address', 'sysctl', 'interface', 'queue listener'])
        assert.ok(fine.includes(check), check);
    }
    assert.equal(await stateOf(at.node), before);
  });

  test('sees a fault, and how to mend it', async (t) => {
    await using at = await doctorLab();
    for (const [name, fault, check, found] of FAULTS) {
      const program = /^iptables-legacy/.exec(fault)?.[0];
      const without = program !== undefined && findProgram(program) === undefined;
      await t.test(name, { skip: without && `needs ${program}` }, () =>
        mended(at, fault, check, found),
      );
    }
  });

  for (const key of ['source', 'destination']) {
    test(`lets the packets be that a queue holds, where the ${key} is hashed`, async () => {
      await using at = await wire();
      const options = [
        '-i',
        `eth0:${key}`,
        '--cluster-total-nodes',
        '1',
        '--cluster-hash-seed',
        '0',
      ];
      const setup = [...options, '--cluster-local-node', '1'];
      const run = ['run', ...setup, '--control', 'none', '--json'];
      const engine = cli(run, { namespace: at.node });
      await engine.event('ready');
      engine.child.kill('SIGSTOP');
      const frames = Array.from({ length: 5 }, (_, index) =>
        udp({ src: SENDER.ipv4, dst: NODE.ipv4, sport: 5000 + index }),
      );
      await inject(at.sender, 'eth0', frames);
      const held = async (): Promise<number> =>
        heldPackets(await at.node.run('cat', ['/proc/net/netfilter/nfnetlink_queue']));
      await waitFor('the queue holds them', async () => (await held()) === 5);
      await diagnosis(at, setup);
      await diagnosis(at, []);
      engine.child.kill('SIGCONT');
      engine.child.kill('SIGINT');
      const { owned } = await engine.event('closed');
      assert.equal(owned, 5);
      assert.equal((await engine.outcome).status, 0);
    });
  }

  test('sees another program on the queue, and then nobody', async () => {
    await using at = await doctorLab({ running: false });
    const other = await at.listen();
    const taken = await diagnosis(at);
    assert.equal(taken.status, 1);
    assert.deepEqual(
      taken.errors.map(({ check, found, command }) => [check, found, command]),
      [
        [
          'queue listener',
          `Another program has queue 0: process ${other.pid!} (python3)`,
          `kill ${other.pid!}`,
        ],
      ],
    );
    other.kill();
    await waitFor('the queue is free', async () =>
      (await diagnosis(at)).errors.some(({ found }) => found.startsWith('Nobody listens')),
    );
    await at.start();
    assert.equal((await diagnosis(at)).status, 0);
  });

  test('sees that a rule of ours was flushed, and that apply mends it', async () => {
    await using at = await doctorLab();
    await at.node.run('nft', ['flush chain inet nfq-cluster-q0 for-host']);
    const { status, errors } = await diagnosis(at);
    assert.equal(status, 1);
    assert.deepEqual(
      errors.map(({ check, found }) => [check, found]),
      [['setup', 'The rules of q0 are not as these options make them']],
    );
    const mending = await cli(['apply', ...SETUP], { namespace: at.node }).outcome;
    assert.equal(mending.status, 0, mending.stderr);
    assert.equal((await diagnosis(at)).status, 0);
  });

  test('sees a setup of other options, and one that does not stand', async () => {
    await using at = await doctorLab({ running: false });
    const other = await diagnosis(at, [...SETUP, '--queue', '7', '--name', 'q0']);
    assert.match(other.errors[0]!.found, /is in place with other options/);
    const absent = await diagnosis(at, [...SETUP, '--name', 'absent', '--queue', '9']);
    assert.deepEqual(
      absent.errors.map(({ found }) => found),
      ['The rules of the setup absent are not in place: nothing is decided'],
    );
  });

  test('warns of bits of the mark that others set, with exit status 0', async () => {
    await using at = await doctorLab();
    await at.node.run(
      'nft',
      ['-f', '-'],
      'table inet other { chain c { type filter hook prerouting priority raw; meta mark set 0x40000000; }; }',
    );
    const { status, findings } = await diagnosis(at);
    assert.equal(status, 0);
    assert.ok(findings.some(({ check, level }) => check === 'marks' && level === 'warning'));
  });

  test('warns of rules of ingress, by which packets come to no decision', async () => {
    await using at = await doctorLab();
    await at.node.run(
      'nft',
      ['-f', '-'],
      'table netdev other { chain c { type filter hook ingress device eth0 priority 0; udp dport 9 fwd to lo; }; }',
    );
    const { findings } = await diagnosis(at);
    assert.ok(findings.some(({ check, level }) => check === 'ingress' && level === 'warning'));
  });

  test('on a machine that sends to the cluster sees to which MAC the node resolved it', async () => {
    await using at = await doctorLab();
    const peers = async (): Promise<string[]> =>
      (await diagnosis({ node: at.sender })).findings
        .filter(({ check }) => check === 'peers')
        .map(({ level, found }) => `${level} ${found}`);
    assert.deepEqual(await peers(), [`skipped Nothing here has asked for ${CLUSTER.ipv4}`]);
    await at.sender.run('sh', ['-c', `ping -c 1 -W 1 ${CLUSTER.ipv4} >/dev/null || true`]);
    assert.deepEqual(await peers(), [`ok ${CLUSTER.ipv4} is resolved to ${CLUSTER.mac}`]);
  });

  test('looks in the network namespace that is named, and says so where there is none', async () => {
    await using at = await doctorLab();
    const inside = await cli(['doctor', ...SETUP, '--netns', at.node.path, '--json']).outcome;
    assert.equal(inside.status, 0, inside.stdout);
    const absent = await cli(['doctor', '--netns', 'nfq-cluster-absent']).outcome;
    assert.equal(absent.status, 1);
    assert.match(absent.stdout, /^error .*nfq-cluster-absent/m);
    assert.doesNotMatch(absent.stdout, /^ok +(setup|interface|nft rules|iptables rules)/m);
  });

  test('refuses options that are wrong', async () => {
    const { status, stderr } = await cli(['doctor', ...SETUP, '-i', 'eth+']).outcome;
    assert.notEqual(status, 0);
    assert.match(stderr, /Expected names of letters/);
  });

  test('says which program is missing', async () => {
    await using at = await doctorLab();
    const hide =
      'for p in /usr/local/sbin /usr/sbin /sbin /usr/bin /bin; do test ! -e $p/ip || mount --bind /dev/null $p/ip; done; exec "$@"';
    const wrapper = ['unshare', '--mount', 'sh', '-ec', hide, 'sh'];
    const { status, errors } = await diagnosis(at, SETUP, wrapper);
    assert.equal(status, 1);
    assert.deepEqual(
      errors.map(({ found, remedy }) => [found, remedy]),
      [
        [
          'The program ip is not installed',
          'Install the package iproute2 (Debian, Fedora, Alpine)',
        ],
      ],
    );
  });

  describe('of an ordinary user', { skip: hiddenFromOthers() }, () => {
    test('says what it lacks, and calls nothing good that it cannot see', async () => {
      await using at = await doctorLab();
      const { status, findings } = await diagnosis(at, SETUP, NOBODY);
      assert.equal(status, 1);
      const fine = findings.filter(({ level }) => level === 'ok').map(({ check }) => check);
      assert.deepEqual(fine, ['programs']);
    });

    test('with CAP_NET_ADMIN alone finds a healthy node healthy', async () => {
      await using at = await doctorLab();
      const { status, errors, findings } = await diagnosis(at, SETUP, NET_ADMIN_ALONE);
      assert.deepEqual([status, errors], [0, []]);
      const listener = findings.find(({ check }) => check === 'queue listener')!;
      assert.equal(listener.level, 'skipped');
    });
  });

  test('prints a line for each finding, with what to do below it', async () => {
    await using at = await doctorLab();
    await at.node.run('ip', ['maddress', 'del', CLUSTER.mac, 'dev', 'eth0']);
    const { stdout } = await cli(['doctor', ...SETUP], { namespace: at.node }).outcome;
    assert.match(
      stdout,
      /^error {4}MAC: eth0 does not have 03:00:00:00:00:02\n {11}\$ ip maddress add 03:00:00:00:00:02 dev eth0$/m,
    );
    assert.match(stdout, /^skipped {2}routers: .*\n.*"arp 10\.1\.0\.10 0300\.0000\.0002 arpa"/m);
  });
});
