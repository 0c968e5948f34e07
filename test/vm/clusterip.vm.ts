/* For a kernel that still has the target CLUSTERIP: it and the engine decide the same packets. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Hasher, importRules, open, type HashMode, type Options } from '../../src/index.js';
import { range } from '../../src/options/buckets.js';
import { Arrivals } from '../support/arrivals.js';
import { REFUSED } from '../support/clusterip-rules.js';
import { CASES, CLUSTER, UNTRACKED_PORT } from '../support/clusterip.js';
import { inject } from '../support/inject.js';
import { ip, ping, tcp, udp } from '../support/packets.js';
import { waitFor } from '../support/processes.js';
import { random } from '../support/random.js';
import { CLUSTER_MAC, NODE, wire, type Wire } from '../support/wire.js';

/** Notes every flow that gets in. */
const NOTED = `table inet noted {
  set flows { type ipv4_addr . inet_service; size 65535; flags dynamic; }
  chain behind {
    type filter hook input priority 100
    udp dport 9 add @flows { ip saddr . udp sport }
  }
}`;

const MEMBERS = `/proc/net/ipt_CLUSTERIP/${NODE.ipv4}`;
const LEGACY = 'iptables-legacy';

interface Cluster {
  hashMode: HashMode;
  totalNodes: number;
  hashSeed: number;
}

/** Adds the target for the node's address. */
async function addTarget(lab: Wire, cluster: Cluster, localNode: number): Promise<void> {
  await lab.node.run(LEGACY, [
    ...['-A', 'INPUT', '-d', NODE.ipv4, '-i', 'eth0', '-j', 'CLUSTERIP', '--new'],
    ...['--hashmode', cluster.hashMode, '--clustermac', '01:00:5e:00:00:70'],
    ...['--total-nodes', `${cluster.totalNodes}`, '--local-node', `${localNode}`],
    ...['--hash-init', `${cluster.hashSeed}`],
  ]);
}

const NODES = range(CLUSTER.totalNodes).map((bucket) => bucket + 1);

async function setMembers({ node }: Wire, nodes: readonly number[]): Promise<void> {
  const now = (await node.run('cat', [MEMBERS])).trim();
  const before = now === '' ? [] : now.split(',').map(Number);
  const changes = [
    ...nodes.filter((one) => !before.includes(one)).map((one) => `echo +${one} >${MEMBERS}`),
    ...before.filter((one) => !nodes.includes(one)).map((one) => `echo -${one} >${MEMBERS}`),
  ];
  await node.run('sh', ['-e'], changes.join('\n'));
}

describe('the target alone takes the packets of every kind as the tests of the engine say', () => {
  let lab: Wire;
  let arrivals: Arrivals;
  before(async () => {
    lab = await wire();
    await lab.node.run('ip', ['maddress', 'add', CLUSTER_MAC, 'dev', 'eth0']);
    const notrack = ['-p', 'udp', '--dport', `${UNTRACKED_PORT}`, '-j', 'CT', '--notrack'];
    await lab.node.run(LEGACY, ['-t', 'raw', '-A', 'PREROUTING', ...notrack]);
    await addTarget(lab, CLUSTER, 1);
    arrivals = await Arrivals.of(lab, () => true);
  });
  after(async () => {
    await lab[Symbol.asyncDispose]();
  });

  for (const { title, frames, node } of CASES) {
    test(title, async () => {
      await setMembers(lab, node === undefined ? NODES : [node]);
      const owned = await arrivals.of(...frames);
      assert.deepEqual([owned.host, owned.other], [node === undefined ? 0 : 1, 0]);
      await setMembers(
        lab,
        NODES.filter((other) => other !== node),
      );
      const foreign = await arrivals.of(...frames);
      assert.deepEqual([foreign.host, foreign.other], [0, 0]);
    });
  }
});

/** The engine marks what it owns; the target drops what it does not. */
const COUNTERS = `table inet judges {
  counter before-marked { }
  counter before-unmarked { }
  counter after-marked { }
  counter after-unmarked { }
  chain before {
    type filter hook input priority -10
    iifname != "eth0" return
    meta nfproto ipv6 return
    meta mark 1 counter name before-marked
    meta mark != 1 counter name before-unmarked
  }
  chain after {
    type filter hook input priority 10
    iifname != "eth0" return
    meta nfproto ipv6 return
    meta mark 1 counter name after-marked
    meta mark != 1 counter name after-unmarked
  }
}`;

/** Packets with ports and without, which conntrack takes. */
function packets(count: number): Buffer[] {
  const some = random('clusterip in a virtual machine');
  return range(count).map((at) => {
    const ends = { src: some.ipv4(), dst: NODE.ipv4 };
    const ports = { ...ends, sport: 1 + some.below(65_535), dport: 1 + some.below(65_535) };
    const payload = Buffer.from(range(12).map(() => some.below(256)));
    const kinds = [
      () => udp(ports),
      () => tcp(ports),
      () => ping({ ...ends, id: some.below(65_536) }),
      () => ip(ends, 50, payload),
      () => ip(ends, 51, payload),
      () => ip(ends, 253, payload),
    ];
    return kinds[at % kinds.length]!();
  });
}

describe('target and engine decide the same packets', () => {
  const frames = packets(3000);
  const clusters: (Cluster & { localNode: number })[] = [
    { hashMode: 'sourceip', totalNodes: 2, hashSeed: 0, localNode: 1 },
    { hashMode: 'sourceip-sourceport', totalNodes: 7, hashSeed: 0xdeadbeef, localNode: 3 },
    { hashMode: 'sourceip-sourceport-destport', totalNodes: 16, hashSeed: 1, localNode: 16 },
  ];
  for (const cluster of clusters) {
    test(`${cluster.hashMode}, node ${cluster.localNode} of ${cluster.totalNodes}`, async () => {
      await using lab = await wire();
      await addTarget(lab, cluster, cluster.localNode);
      await lab.node.run('nft', ['-f', '-'], COUNTERS);
      await using engine = await open({
        ...cluster,
        interfaces: ['eth0'],
        policy: 'clusterip',
        action: 'mark',
        marks: { owned: { value: 1, mask: 1 } },
        netns: lab.node.path,
        rules: 'auto',
      });
      await inject(lab.sender, 'eth0', frames, { rate: 2000 });
      await waitFor('every packet', () => engine.stats().latency.count === frames.length, 120_000);
      const listed = await lab.node.run('nft', ['list', 'counters', 'table', 'inet', 'judges']);
      const count = (name: string): number =>
        Number(new RegExp(`counter ${name} \\{\\s+packets (\\d+)`).exec(listed)![1]);
      const both = count('after-marked');
      assert.equal(count('before-marked') + count('before-unmarked'), frames.length);
      assert.equal(count('before-marked'), both, 'the engine alone owns a packet');
      assert.equal(count('after-unmarked'), 0, 'the target alone owns a packet');
      assert.ok(both > 0 && both < frames.length);
    });
  }
});

describe('iptables and the kernel refuse what the import refuses', () => {
  for (const { rules, program = 'iptables', taken } of REFUSED) {
    test(`${taken === true ? 'but take' : 'refuse'}: ${program} ${rules.at(-1)!}`, async () => {
      await using lab = await wire();
      const accept = (rule: string): Promise<string> =>
        lab.node.run(
          `${program}-legacy`,
          rule.split(/ +/).filter((word) => word !== ''),
        );
      for (const rule of rules.slice(0, -1)) await accept(rule);
      if (taken === true) await accept(rules.at(-1)!);
      else await assert.rejects(accept(rules.at(-1)!), /CLUSTERIP|dmesg|MAC|hashmode|No chain/);
    });
  }
});

/* docs/from-clusterip.md */
test('a node moves from the target to the engine under traffic, and loses nothing', async () => {
  const mac = '01:00:5e:00:00:70';
  const cluster = { hashMode: 'sourceip-sourceport', totalNodes: 2, hashSeed: 0 } as const;
  await using lab = await wire();
  await addTarget(lab, cluster, 1);
  await lab.node.run('nft', ['-f', '-'], NOTED);
  const flows = range(9000).map((at) => ({
    src: `10.9.0.${at % 200}`,
    sport: 1 + Math.floor(at / 200),
  }));
  const frames = flows.map((flow) => udp({ ...flow, dst: NODE.ipv4, dport: 9, ethDst: mac }));
  const ended = new AbortController();
  const sending = inject(lab.sender, 'eth0', frames, { rate: 300 }).finally(() => ended.abort());
  const { configurations } = importRules(await lab.node.run('iptables-legacy-save', []));
  assert.equal(configurations.length, 1);
  await using engine = await open({
    ...configurations[0]!,
    netns: lab.node.path,
    rules: 'auto',
  } as Options);
  await waitFor('traffic in the engine', () => engine.stats().received > 500);
  const saved = await lab.node.run('iptables-legacy-save', []);
  const [rule] = saved.split('\n').filter((line) => line.includes('CLUSTERIP'));
  await lab.node.run(
    'iptables-legacy-restore',
    ['--noflush'],
    `*filter\n${rule!.replace('-A', '-D')}\nCOMMIT\n`,
  );
  await assert.rejects(lab.node.run('cat', [MEMBERS]));
  assert.ok(!ended.signal.aborted, 'the traffic ended before the move');
  const listed = await lab.node.run('ip', ['-json', 'maddress', 'show', 'dev', 'eth0']);
  assert.ok(listed.includes(mac), listed);
  await sending;
  await waitFor('every decision', () => engine.stats().received === engine.stats().latency.count);
  const hasher = new Hasher({ policy: 'clusterip', ...cluster });
  const owned = flows.filter((flow) => hasher.node({ ...flow, protocol: 17, dport: 9 }) === 1);
  const letIn = await lab.node.run('nft', ['-j', 'list', 'set', 'inet', 'noted', 'flows']);
  const count = (letIn.match(/"concat"/g) ?? []).length;
  assert.equal(count, owned.length);
});

test('a local node above the total accepts nothing, and total 0 everything, as with strict', async () => {
  for (const [totalNodes, localNode, accepted] of [
    [2, 3, 0],
    [0, 1, 20],
  ] as const) {
    await using lab = await wire();
    await addTarget(lab, { ...CLUSTER, totalNodes }, localNode);
    const arrivals = await Arrivals.of(lab, () => true);
    assert.equal((await arrivals.of(...packets(20))).host, accepted);
  }
});
