/* A gateway by the engine, and by the rules exported of it: the same frames get in, with the same mark. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { range } from '../../src/options/buckets.js';
import { status } from '../../src/control/status.js';
import { ofStatus } from '../../src/export/index.js';
import { exportRules, Hasher, open, type Options } from '../../src/index.js';
import { Namespace } from '../../src/lab/namespaces.js';
import { QUIET } from '../../src/lab/topology.js';
import { resolveOptions } from '../../src/options/resolve.js';
import { inject } from '../support/inject.js';
import { ip, tcp, udp, unreachable, type Ends } from '../support/packets.js';
import { waitFor } from '../support/processes.js';
import { wire, type Wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const HASHING = { totalNodes: 2, hashSeed: 0xdeadbeef } as const;
const FLOWS = 32;
/** The second wire of the node, with the host inside. */
const INNER = { node: '02:00:00:00:01:02', host: '02:00:00:00:01:01' };

const outer = (at: number): string[] => [`10.9.0.${at}`, `fd09::${at}`];
const inner = (at: number): string[] => [`10.8.0.${at}`, `fd08::${at}`];
/** Of both families, from one side to the other. */
const pairs = (from: typeof outer, to: typeof outer, first: number): Ends[] =>
  range(FLOWS).flatMap((index) =>
    from(first + index).map((src, family) => ({ src, dst: to(first + index)[family]! })),
  );
const inside = (ends: Ends): Ends => ({ ...ends, ethSrc: INNER.host, ethDst: INNER.node });
const back = ({ src, dst }: Ends): Ends => ({ src: dst, dst: src });
const swapped = { sport: 9, dport: 1024 };

const inward = pairs(outer, inner, 1);
const outward = pairs(inner, outer, 101);
/** What enters on each side, one after another: new flows, their replies, errors about them, and what has no flow. */
const ARRIVALS: [side: 'outside' | 'inside', frames: Buffer[]][] = [
  [
    'outside',
    [
      ...inward.map((ends) => udp(ends)),
      ...range(FLOWS).map((at) => tcp({ src: outer(at)[0]!, dst: inner(200)[0]!, flags: ['ack'] })),
      ...range(FLOWS).map((at) =>
        ip(
          { src: outer(at)[0]!, dst: '224.0.0.1', ethDst: '01:00:5e:00:00:01' },
          2,
          Buffer.alloc(8),
        ),
      ),
    ],
  ],
  [
    'inside',
    [
      ...inward.map((ends) => udp({ ...inside(back(ends)), ...swapped })),
      ...inward.map((ends) => unreachable(udp(ends), inside(back(ends)))),
      ...outward.map((ends) => udp(inside(ends))),
    ],
  ],
  ['outside', outward.map((ends) => udp({ ...back(ends), ...swapped }))],
];

/** Notes what passes the decision, with its mark. */
const NOTES = `table inet noted {
  set in4 { typeof meta iifname . ip saddr . ip daddr . meta l4proto . meta mark; size 65535; flags dynamic; }
  set in6 { typeof meta iifname . ip6 saddr . ip6 daddr . meta l4proto . meta mark; size 65535; flags dynamic; }
  chain behind {
    type filter hook prerouting priority 300
    meta nfproto ipv4 add @in4 { meta iifname . ip saddr . ip daddr . meta l4proto . meta mark }
    ip6 saddr fd08::/15 add @in6 { meta iifname . ip6 saddr . ip6 daddr . meta l4proto . meta mark }
  }
}`;

type Listing = { nftables: { set?: { elem?: { concat: (string | number)[] }[] } }[] };

async function noted(node: Namespace): Promise<string[]> {
  const text = await node.run('nft', ['-j', 'list', 'table', 'inet', 'noted']);
  const sets = (JSON.parse(text) as Listing).nftables.flatMap(({ set }) => set?.elem ?? []);
  return sets.map(({ concat }) => concat.join(' ')).sort();
}

/** A second wire, and the node between both. */
async function gateway({ node }: Wire): Promise<Namespace> {
  const host = await Namespace.create();
  await host.sysctl(QUIET);
  await node.veth('eth1', host, 'eth0');
  await host.ip(`link set eth0 address ${INNER.host} up`);
  await node.ip(
    `link set eth1 address ${INNER.node} up`,
    'address add 10.2.0.2/24 dev eth1',
    'address add fd02::2/64 dev eth1 nodad',
    ...['10.2.0.1', 'fd02::1'].map(
      (address) => `neighbour add ${address} lladdr ${INNER.host} dev eth1 nud permanent`,
    ),
    'route add 10.8.0.0/16 via 10.2.0.1',
    'route add fd08::/64 via fd02::1',
  );
  await node.sysctl({
    'ipv4/ip_forward': 1,
    'ipv6/conf/all/forwarding': 1,
    'netfilter/nf_conntrack_tcp_loose': 0,
  });
  return host;
}

/** Has `decide` decide on the node, sends all frames, and tells what passed. */
async function passed(
  owned: readonly string[],
  decide: (node: Namespace) => Promise<AsyncDisposable | undefined>,
): Promise<string[]> {
  await using lab = await wire();
  await using host = await gateway(lab);
  await lab.node.run('nft', ['-f', '-'], NOTES);
  await using _decider = await decide(lab.node);
  for (const [at, [side, frames]] of ARRIVALS.entries()) {
    // The last to be decided, and owned whichever address is the key.
    const last = { src: owned[at]!, dst: owned[at + 1]! };
    const [from, frame] = side === 'outside' ? [lab.sender, udp(last)] : [host, udp(inside(last))];
    await inject(from, 'eth0', [...frames, frame], { rate: 20_000 });
    await waitFor('the last frame', async () =>
      (await noted(lab.node)).some((line) => line.includes(` ${last.src} ${last.dst} `)),
    );
  }
  return await noted(lab.node);
}

const BOTH = ['eth0', 'eth1'];
const CASES: [title: string, Pick<Options, 'interfaces' | 'conntrack' | 'action'>][] = [
  [
    'by the source outside and the destination inside',
    { interfaces: ['eth0', { name: 'eth1', key: 'destination' }] },
  ],
  [
    'the same, marking',
    { interfaces: ['eth0', { name: 'eth1', key: 'destination' }], action: 'mark' },
  ],
  ['by each packet’s own source', { interfaces: BOTH, conntrack: 'off' }],
  ['by the original source', { interfaces: BOTH }],
  ['the same, marking', { interfaces: BOTH, action: 'mark' }],
];

for (const [title, given] of CASES) {
  test(`exported to nft, a gateway decides as the engine, ${title}`, { skip }, async () => {
    const options = { ...HASHING, localNode: 1, ...given };
    const hasher = new Hasher(HASHING);
    const owned = range(250)
      .map((at) => `10.7.0.${at + 1}`)
      .filter((address) => hasher.node(address) === 1);
    let rules = '';
    const byEngine = await passed(owned, async (node) => {
      const engine = await open({ ...options, rules: 'auto', netns: node.path });
      rules = exportRules(ofStatus(status(engine)), 'nft');
      return engine;
    });
    assert.equal(exportRules(resolveOptions(options), 'nft'), rules);
    const byRules = await passed(owned, async (node) => {
      await node.run('nft', ['-f', '-'], rules);
      return undefined;
    });
    assert.deepEqual(
      {
        rules: byRules.filter((packet) => !byEngine.includes(packet)),
        engine: byEngine.filter((packet) => !byRules.includes(packet)),
      },
      { rules: [], engine: [] },
    );
    const all = ARRIVALS.flatMap(([, frames]) => frames).length;
    assert.ok(byEngine.length > all / 4, `${byEngine.length} of ${all}`);
    if (given.action !== 'mark')
      assert.ok(byEngine.length < (all * 3) / 4, `${byEngine.length} of ${all}`);
  });
}
