/*
 * Clusters of unlike nodes: the kernel's `-m cluster`, nft's jhash, and ours share one address. For IPv4 all
 * three agree; for IPv6 the first two do not, and ours sides with either.
 */
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { Hasher, open, type Engine, type Policy } from '../../src/index.js';
import { range } from '../../src/options/buckets.js';
import type * as evidence from '../../src/lab/evidence.js';
import type { Namespace } from '../../src/lab/namespaces.js';
import type * as programs from '../../src/lab/programs.js';
import type * as reporting from '../../src/lab/report.js';
import { ipv4Sources, ipv6Sources } from '../../src/lab/sources.js';
import type * as topologies from '../../src/lab/topology.js';
import type * as traffic from '../../src/lab/traffic.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { root, waitFor } from '../support/processes.js';

/** As built, since the laboratory starts its own programs. */
const built = async <T>(name: string): Promise<T> =>
  (await import(pathToFileURL(path.join(root, `dist/lab/${name}.js`)).href)) as T;
const { collectEvidence, flowsLetIn } = await built<typeof evidence>('evidence');
const { startProgram } = await built<typeof programs>('programs');
const { judge } = await built<typeof reporting>('report');
const { buildTopology, closeTopology, routeBack, SHARED } =
  await built<typeof topologies>('topology');
const { makeFlows } = await built<typeof traffic>('traffic');

const skip = process.getuid?.() === 0 ? false : 'needs root';
const SEED = 0xdeadbeef;
const IPV4_SOURCES = 300;
const IPV6_FLOWS = 400;

/** Makes a namespace a node of a cluster; what it returns is closed before the namespace. */
type Member = (node: Namespace, number: number, of: number) => Promise<Engine | undefined>;

/** The man page's rules: mark what is ours, drop what is not. */
const kernelMatch: Member = async (node, number, of) => {
  const match = `--cluster-total-nodes ${of} --cluster-local-node ${number} --cluster-hash-seed ${SEED}`;
  for (const program of ['iptables', 'ip6tables']) {
    await node.run(
      `${program}-restore`,
      [],
      `*mangle
-A PREROUTING -i eth0 -m cluster ${match} -j MARK --set-mark 0xffff
-A PREROUTING -i eth0 -m mark ! --mark 0xffff -j DROP
COMMIT
`,
    );
  }
  return undefined;
};

const nftJhash: Member = async (node, number, of) => {
  const hash = (key: string): string => `jhash ${key} mod ${of} seed ${SEED} offset 1`;
  await node.run(
    'nft',
    ['-f', '-'],
    `table inet cluster {
  chain prerouting {
    type filter hook prerouting priority mangle
    iifname "eth0" meta pkttype multicast ip daddr ${SHARED.ipv4} meta pkttype set host
    iifname "eth0" meta pkttype multicast ip6 daddr ${SHARED.ipv6} meta pkttype set host
    iifname "eth0" meta nfproto ipv4 meta mark set ${hash('ct original ip saddr')}
    iifname "eth0" meta nfproto ipv6 meta mark set ${hash('ct original ip6 saddr')}
    iifname "eth0" meta mark != ${number} drop
  }
}
`,
  );
  return undefined;
};

const ours =
  (policy: Policy): Member =>
  (node, localNode, totalNodes) =>
    open({
      interfaces: ['eth0'],
      policy,
      totalNodes,
      localNode,
      hashSeed: SEED,
      netns: node.path,
      rules: 'auto',
    });

/** What members of every kind need, and rules do not give: addresses, the MAC, and who is where. */
async function setUp({ clients, nodes }: topologies.Topology): Promise<void> {
  const lladdr = /link\/ether (\S+)/.exec(await clients.run('ip', ['link', 'show', 'eth0']))![1]!;
  const known = (address: string, mac: string): string =>
    `neighbour replace ${address} lladdr ${mac} dev eth0 nud permanent`;
  await clients.ip(known(SHARED.ipv4, SHARED.mac), known(SHARED.ipv6, SHARED.mac));
  for (const node of nodes) {
    await node.run('ip', ['maddress', 'add', SHARED.mac, 'dev', 'eth0']);
    await node.ip(
      `address add ${SHARED.ipv4}/24 dev eth0`,
      `address add ${SHARED.ipv6}/64 dev eth0 nodad`,
      known('192.0.2.254', lladdr),
      known('2001:db8::fe', lladdr),
    );
    await routeBack(node);
  }
}

/** A cluster of these members, node 1 first, while `work` runs. */
async function cluster(
  members: readonly Member[],
  work: (topology: topologies.Topology, engines: readonly Engine[]) => Promise<void>,
): Promise<void> {
  const topology = await buildTopology(members.length);
  const engines: Engine[] = [];
  try {
    await setUp(topology);
    for (const [index, node] of topology.nodes.entries()) {
      await collectEvidence(node);
      const engine = await members[index]!(node, index + 1, members.length);
      if (engine !== undefined) engines.push(engine);
    }
    await work(topology, engines);
  } finally {
    await Promise.all(engines.map((engine) => engine.close()));
    await closeTopology(topology);
  }
}

test('IPv4: each flow has one owner of three kinds, TCP included', { skip }, async () => {
  await cluster([kernelMatch, nftJhash, ours('jhash')], async (topology) => {
    await Promise.all(
      topology.nodes.map((node, index) =>
        startProgram(node, 'service', [index + 1, SHARED.port, SHARED.ipv4, SHARED.ipv6]),
      ),
    );
    const flows = await makeFlows(topology, ipv4Sources(IPV4_SOURCES), () => undefined);
    const letIn = await Promise.all(topology.nodes.map(flowsLetIn));
    const nothing = { received: 0, owned: 0, foreign: 0 };
    const report = judge(flows, letIn, [nothing, nothing, nothing], 0);
    assert.deepEqual(report.faults, []);
    assert.deepEqual([report.flows, report.exactlyOne], [2 * IPV4_SOURCES, 2 * IPV4_SOURCES]);
    for (const { node, answered } of report.nodes) {
      assert.ok(answered > IPV4_SOURCES / 3, `node ${node} answered ${answered}`);
    }
    for (const protocol of ['tcp', 'udp']) {
      const answered = flows.filter(
        (flow) => flow.protocol === protocol && flow.answers.length === 1,
      );
      assert.equal(answered.length, IPV4_SOURCES, protocol);
    }
  });
});

/** How many IPv6 flows two members let in: [none of them, one, both]. */
async function letIn6(members: readonly [Member, Member]): Promise<number[]> {
  const flows = ipv6Sources(IPV6_FLOWS).map((src) =>
    udp({ src, dst: SHARED.ipv6, dport: SHARED.port, ethDst: SHARED.mac }),
  );
  let counts: number[] = [];
  await cluster(members, async (topology, engines) => {
    const received = async (node: Namespace): Promise<number> => {
      const link = await node.run('ip', ['-json', '-statistics', 'link', 'show', 'eth0']);
      return (JSON.parse(link) as [{ stats64: { rx: { packets: number } } }])[0].stats64.rx.packets;
    };
    const before = await Promise.all(topology.nodes.map(received));
    await inject(topology.clients, 'eth0', flows, { rate: 5000 });
    await waitFor('all frames on both nodes', async () => {
      const now = await Promise.all(topology.nodes.map(received));
      return now.every((packets, index) => packets >= before[index]! + IPV6_FLOWS);
    });
    await waitFor('all frames in the engines', () =>
      engines.every((engine) => engine.stats().received >= IPV6_FLOWS),
    );
    await Promise.all(engines.map((engine) => engine.close()));
    const [first, second] = (await Promise.all(topology.nodes.map(flowsLetIn))) as [
      Set<string>,
      Set<string>,
    ];
    const both = [...first].filter((flow) => second.has(flow)).length;
    const one = first.size + second.size - 2 * both;
    counts = [IPV6_FLOWS - one - both, one, both];
  });
  return counts;
}

test('IPv6: -m cluster and nft jhash disagree', { skip }, async () => {
  const [none, one, both] = (await letIn6([kernelMatch, nftJhash])) as [number, number, number];
  for (const flows of [none, one, both]) assert.ok(flows > IPV6_FLOWS / 10, `${flows} flows`);
});

test('IPv6: ours sides with either', { skip }, async () => {
  const shared = [0, IPV6_FLOWS, 0];
  assert.deepEqual(await letIn6([kernelMatch, ours('xt_cluster')]), shared);
  assert.deepEqual(await letIn6([nftJhash, ours('jhash')]), shared);
});

const sourceOf = (index: number): string => `10.9.0.${index % 200}`;
const portOf = (index: number): number => 1 + Math.floor(index / 200);

/** The lengths of the runs of items for which `holds` does not. */
function gapsIn<T>(items: readonly T[], holds: (item: T) => boolean): number[] {
  const gaps: number[] = [];
  let open = false;
  for (const item of items) {
    if (holds(item)) open = false;
    else if (open) gaps[gaps.length - 1]! += 1;
    else {
      gaps.push(1);
      open = true;
    }
  }
  return gaps;
}

/** The man page's rules, first the one that drops: it would drop all that the other no longer marks. */
async function deleteMatch(node: Namespace): Promise<void> {
  const saved = await node.run('iptables-save', ['-t', 'mangle']);
  const rules = saved
    .split('\n')
    .filter((line) => /^-A PREROUTING.*(cluster-total|0xffff)/.test(line));
  assert.equal(rules.length, 2, saved);
  for (const deletion of rules.reverse().map((line) => line.replace('-A', '-D'))) {
    await node.run('iptables-restore', ['--noflush'], `*mangle\n${deletion}\nCOMMIT\n`);
  }
}

async function flushChain(node: Namespace): Promise<void> {
  await node.run('nft', ['flush', 'chain', 'inet', 'cluster', 'prerouting']);
}

const MOVES: [from: string, Member, to: Policy, leave: (node: Namespace) => Promise<void>][] = [
  ['the kernel match', kernelMatch, 'xt_cluster', deleteMatch],
  ['nft jhash', nftJhash, 'jhash', flushChain],
];
for (const [from, before, policy, leave] of MOVES) {
  test(
    `a node moves from ${from} to ours under traffic: no packet has two owners`,
    { skip },
    async () => {
      const frames = range(12_000).map((index) =>
        udp({
          src: sourceOf(index),
          sport: portOf(index),
          dst: SHARED.ipv4,
          dport: SHARED.port,
          ethDst: SHARED.mac,
        }),
      );
      await cluster([before, kernelMatch], async ({ clients, nodes }) => {
        const [moving] = nodes as [Namespace, Namespace];
        let sent = false;
        const sending = inject(clients, 'eth0', frames, { rate: 1000 }).finally(
          () => (sent = true),
        );
        await using engine = (await ours(policy)(moving, 1, 2))!;
        const traffic = (packets: number) =>
          waitFor('traffic', () => engine.stats().received > packets);
        await traffic(200);
        await leave(moving);
        assert.ok(!sent, 'the traffic ended before the move');
        await sending;
        await engine.close();
        const [first, second] = (await Promise.all(nodes.map(flowsLetIn))) as [
          Set<string>,
          Set<string>,
        ];
        const both = [...first].filter((flow) => second.has(flow));
        assert.deepEqual(both, []);
        // Where NFQUEUE does, the moving node lets nothing in until its rule is there: once, for a moment.
        const hasher = new Hasher({ policy, hashSeed: SEED, totalNodes: 2 });
        const share = range(frames.length).filter((index) => hasher.node(sourceOf(index)) === 1);
        const gaps = gapsIn(share, (index) => first.has(`udp ${sourceOf(index)} ${portOf(index)}`));
        assert.equal(second.size, frames.length - share.length);
        const most = engine.mechanism!.kind === 'nft' ? 0 : 1;
        assert.ok(gaps.length <= most, `${gaps.join(' and ')} packets in a row had no owner`);
      });
    },
  );
}
