/* Exported rules, loaded into the kernel: it decides as the configuration says. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { exportRules, Hasher, open, type ExportFormat, type Options } from '../../src/index.js';
import { importRules } from '../../src/import/index.js';
import type { Namespace } from '../../src/lab/namespaces.js';
import type { ResolvedOptions } from '../../src/options/types.js';
import { resolveOptions } from '../../src/options/resolve.js';
import { inject } from '../support/inject.js';
import { tcp, udp } from '../support/packets.js';
import { cli, waitFor } from '../support/processes.js';
import { random } from '../support/random.js';
import { CLUSTER, CLUSTER_MAC, clusterOptions, NODE, wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const SOURCES = 500;
const generator = random('exported rules');
const IPV4 = Array.from({ length: SOURCES }, () => generator.ipv4());
const IPV6 = Array.from({ length: SOURCES }, () => generator.ipv6());

/** Notes every source that gets in, with the upper mark of its packets in the order of arrival. */
const NOTES = `table inet noted {
  set in4 { type ipv4_addr . mark; size 65535; flags dynamic; }
  set in6 { type ipv6_addr . mark; size 65535; flags dynamic; }
  counter seen { }
  counter discovery { }
  chain before {
    type filter hook prerouting priority -300
    udp dport 9 counter name seen
  }
  chain input {
    type filter hook input priority 0
    icmpv6 type nd-neighbor-solicit counter name discovery
    udp dport 9 ip saddr != 0.0.0.0 add @in4 { ip saddr . meta mark }
    udp dport 9 ip6 saddr != :: add @in6 { ip6 saddr . meta mark }
    tcp dport 9 add @in4 { ip saddr . meta mark }
  }
}`;

type Listing = { nftables: { set?: { elem?: { concat: [string, number] }[] } }[] };

async function noted(node: Namespace): Promise<Map<string, number>> {
  const listing = JSON.parse(
    await node.run('nft', ['-j', 'list', 'table', 'inet', 'noted']),
  ) as Listing;
  return new Map(
    listing.nftables.flatMap(({ set }) => set?.elem ?? []).map(({ concat }) => concat),
  );
}

/** Loads rules, saves what the kernel has, and loads that, so that it is tried, too. */
async function load(
  node: Namespace,
  to: ExportFormat,
  rules: string,
  again: boolean,
): Promise<void> {
  if (to === 'nft') {
    await node.run('nft', ['-f', '-'], rules);
    const listed = await node.run('nft', ['list', 'table', 'inet', 'nfq-cluster-export']);
    await node.run('nft', ['delete', 'table', 'inet', 'nfq-cluster-export']);
    await node.run('nft', ['-f', '-'], listed);
    return;
  }
  await node.run(`${to}-restore`, ['--noflush'], rules);
  if (again) await node.run(`${to}-restore`, [], await node.run(`${to}-save`, []));
}

const BASE = { interfaces: ['eth0'], hashSeed: 0xdeadbeef };
const CASES: [ExportFormat, Omit<Options, 'interfaces' | 'hashSeed'>, { ipv4?: boolean }?][] = [
  ['iptables', { totalNodes: 2, localNode: 1 }],
  ['iptables', { totalNodes: 32, localNode: [1, 7, 32], policy: 'xt_cluster' }],
  ['iptables', { totalNodes: 3, localNode: 2, invert: true, action: 'mark' }],
  ['iptables', { totalNodes: 3, ownership: { nodes: [] } }],
  ['iptables', { buckets: 8, ownership: { buckets: [0, 3, 7] } }],
  ['ip6tables', { totalNodes: 3, localNode: 2, policy: 'xt_cluster' }],
  ['ip6tables', { totalNodes: 8, localNode: [1, 2], policy: 'xt_cluster', action: 'mark' }],
  ['nft', { totalNodes: 3, localNode: 3 }],
  ['nft', { totalNodes: 1, localNode: 1 }],
  ['nft', { totalNodes: 3, localNode: [1, 3], action: 'mark' }],
  ['nft', { totalNodes: 3, ownership: { nodes: [] }, action: 'mark' }],
  ['nft', { totalNodes: 3, ownership: { nodes: [] } }],
  [
    'nft',
    { buckets: 1023, ownership: { buckets: Array.from({ length: 300 }, (_, at) => 3 * at) } },
  ],
  ['nft', { totalNodes: 2, localNode: 2, policy: 'xt_cluster' }, { ipv4: true }],
];

describe('exported rules decide as the configuration', { skip }, () => {
  for (const [to, share, flags] of CASES) {
    const { ownership, ...shown } = share;
    const title =
      `${to}: ${JSON.stringify(shown)}, owning ${JSON.stringify(ownership ?? '')}`.slice(0, 120);
    test(title, async () => {
      const options = resolveOptions({ ...BASE, ...share });
      await using lab = await wire();
      await lab.node.run('nft', ['-f', '-'], NOTES);
      await load(
        lab.node,
        to,
        exportRules(options, to, flags),
        !options.owned.some((bucket) => bucket >= 6),
      );
      const sources = [
        ...(to === 'ip6tables' ? [] : IPV4),
        ...(to === 'iptables' || flags?.ipv4 ? [] : IPV6),
      ];
      const frames = sources.map((src) =>
        udp({ src, dst: src.includes(':') ? NODE.ipv6 : NODE.ipv4 }),
      );
      await inject(lab.sender, 'eth0', frames, { rate: 20_000 });
      await waitFor('all frames', async () => {
        const text = await lab.node.run('nft', ['list', 'counter', 'inet', 'noted', 'seen']);
        return text.includes(`packets ${sources.length} `);
      });
      const { policy, hashSeed, buckets, owned, action } = options;
      const hasher = new Hasher({ policy, hashSeed, buckets });
      const expected = new Map(
        sources
          .map((source): [string, boolean] => [source, owned.includes(hasher.bucket(source))])
          .filter(([, isOwned]) => isOwned || action === 'mark')
          .map(([source, isOwned]) => [
            source,
            isOwned && (action === 'mark' || to !== 'nft') ? 0xffff : 0,
          ]),
      );
      assert.deepEqual(sorted(canonical(await noted(lab.node))), sorted(canonical(expected)));
      assert.equal(expected.size === 0, owned.length === 0 && action === 'drop');
    });
  }

  test('multicast frames are for this host, and strays without a connection for nobody', async () => {
    await using lab = await wire({ nodeMac: CLUSTER_MAC });
    await lab.node.run('ip', ['maddress', 'add', CLUSTER_MAC, 'dev', 'eth0']);
    await lab.node.sysctl({ 'netfilter/nf_conntrack_tcp_loose': 0 });
    await lab.node.run('nft', ['-f', '-'], NOTES);
    const options = resolveOptions({ ...BASE, totalNodes: 1, localNode: 1 });
    await load(lab.node, 'nft', exportRules(options, 'nft'), true);
    const ends = { dst: NODE.ipv4, ethDst: CLUSTER_MAC };
    await inject(lab.sender, 'eth0', [
      tcp({ ...ends, src: '10.9.0.1', flags: ['ack'] }),
      tcp({ ...ends, src: '10.9.0.2' }),
    ]);
    await waitFor('the connection', async () => (await noted(lab.node)).size > 0);
    assert.deepEqual([...(await noted(lab.node)).keys()], ['10.9.0.2']);
  });

  const RETURNED: [ExportFormat, Partial<Options>][] = [
    ['iptables', { totalNodes: 8, localNode: [2, 7] }],
    ['iptables', { totalNodes: 3, localNode: [1, 3] }],
    ['ip6tables', { totalNodes: 3, localNode: 2 }],
    ['nft', { policy: 'jhash', buckets: 64, ownership: { buckets: [0, 5, 63] } }],
    ['nft', { policy: 'jhash', totalNodes: 3, localNode: [1, 2] }],
    ['nft', { policy: 'jhash', totalNodes: 3, localNode: 2, conntrack: 'off' }],
  ];
  const ACTIONS: Partial<Options>[] = [
    { action: 'drop' },
    { action: 'mark', marks: { owned: { value: 0x10000, mask: 0x30000 } } },
  ];
  for (const [to, share] of RETURNED) {
    for (const action of ACTIONS) {
      const title = JSON.stringify({ ...share, ...action });
      test(`what the kernel lists of ${to} is imported as it was: ${title}`, async () => {
        const options = resolveOptions({ ...BASE, policy: 'xt_cluster', ...share, ...action });
        await using lab = await wire();
        await load(lab.node, to, exportRules(options, to), false);
        const listed = await lab.node.run(
          ...((to === 'nft' ? ['nft', ['list', 'ruleset']] : [`${to}-save`, []]) as [
            string,
            string[],
          ]),
        );
        const { configurations, notes } = importRules(listed);
        assert.equal(configurations.length, 1, JSON.stringify(notes));
        assert.deepEqual(decision(resolveOptions(configurations[0])), decision(options));
      });
    }
  }

  test('of a running engine, what it owns now', async () => {
    await using lab = await wire();
    await using engine = await open({
      ...BASE,
      totalNodes: 4,
      localNode: 1,
      netns: lab.node.path,
      control: 'auto',
    });
    await engine.own('+3');
    const args = ['export', '--running', '--to', 'nft', '--netns', lab.node.path];
    const { stdout, status, stderr } = await cli(args).outcome;
    assert.equal(status, 0, stderr);
    const given = ['--cluster-total-nodes', '4', '--cluster-local-node', '1,3', '-i', 'eth0'];
    const same = ['export', '--to', 'nft', ...given, '--cluster-hash-seed', '0xdeadbeef'];
    assert.equal(stdout, (await cli(same).outcome).stdout);
    assert.match(stdout, /offset 1 != \{ 1, 3 \} drop/);
  });
});

describe('of a running engine of policy clusterip', { skip }, () => {
  test('the hash mode and the address, for Pacemaker', async () => {
    await using lab = await wire();
    await using engine = await open({
      ...clusterOptions(lab.node, { policy: 'clusterip', hashMode: 'sourceip-sourceport' }),
      interfaces: [{ name: 'eth0', addresses: [`${CLUSTER.ipv4}/24`], mac: CLUSTER.mac }],
      hashSeed: 0,
      control: 'auto',
    });
    const args = ['--name', engine.options.name, '--netns', lab.node.path];
    const { stdout, status, stderr } = await cli([
      'export',
      '--running',
      '--to',
      'pacemaker',
      ...args,
    ]).outcome;
    assert.equal(status, 0, stderr);
    assert.match(
      stdout,
      /^ip=10\.1\.0\.10\ncidr_netmask=24\nnic=eth0\nmac=\S+\nclusterip_hash=sourceip-sourceport$/m,
    );
    const refused = await cli(['export', '--running', '--to', 'nft', ...args]).outcome;
    assert.equal(refused.status, 1);
  });
});

/** All that says which packet passes, and how. */
const decision = (options: ResolvedOptions) => {
  const { policy, buckets, owned, hashSeed, interfaces, conntrack, action, marks } = options;
  const mark = action === 'mark' ? marks.owned : undefined;
  return { policy, buckets, owned, hashSeed, interfaces, conntrack, action, mark };
};

/** IPv6 addresses as everybody writes them. */
const canonical = (map: Map<string, number>): [string, number][] =>
  [...map].map(([source, mark]) => [
    source.includes(':') ? new URL(`http://[${source}]`).hostname : source,
    mark,
  ]);
const sorted = <T>(all: T[]): T[] => all.sort((a, b) => (String(a) < String(b) ? -1 : 1));
