import { once } from 'node:events';
import path from 'node:path';
import { Namespace } from '../../src/lab/namespaces.js';
import { AT_ONCE } from '../../src/lab/topology.js';
import { open, type Engine } from '../../src/engine.js';
import type { InterfaceOptions, Options } from '../../src/options/types.js';
import { waitFor } from './processes.js';

/** A side of the gateways: what they share there, the one host of that side, and its many addresses. */
export const OUTSIDE = {
  name: 'eth1',
  mac: '03:00:c0:00:02:01',
  gateway: { 4: '192.0.2.1', 6: 'fd0a::1' },
  host: { 4: '192.0.2.254', 6: 'fd0a::fe' },
  prefix: { 4: '198.51.100.0/24', 6: 'fd0b::/64' },
  address: { 4: (at: number) => `198.51.100.${at}`, 6: (at: number) => `fd0b::${at}` },
};
export const INSIDE: typeof OUTSIDE = {
  name: 'eth2',
  mac: '03:00:0a:00:00:01',
  gateway: { 4: '10.0.0.1', 6: 'fd1a::1' },
  host: { 4: '10.0.0.254', 6: 'fd1a::fe' },
  prefix: { 4: '10.8.0.0/24', 6: 'fd1b::/64' },
  address: { 4: (at: number) => `10.8.0.${at}`, 6: (at: number) => `fd1b::${at}` },
};

interface Gateways extends AsyncDisposable {
  outside: Namespace;
  inside: Namespace;
  nodes: Namespace[];
}

export interface Flow {
  protocol: 'tcp' | 'udp';
  src: string;
  sport: number;
  dst: string;
  dport: number;
  /** Bytes sent, and expected back. */
  size: number;
}

/** The interface of the gateways on a side, as an option of theirs. */
export const facing = (side: typeof OUTSIDE, more: Partial<InterfaceOptions> = {}) => ({
  name: side.name,
  addresses: [`${side.gateway[4]}/24`, `${side.gateway[6]}/64`],
  mac: side.mac,
  ...more,
});

/** An engine on one of two gateways, with both sides. */
export const openGateway = (
  node: Namespace,
  localNode: number,
  more: Partial<Options> & Pick<Options, 'hashSeed'>,
): Promise<Engine> =>
  open({
    interfaces: [facing(OUTSIDE), facing(INSIDE)],
    totalNodes: 2,
    localNode,
    netns: node.path,
    rules: 'auto',
    ...more,
  });

/**
 * ```
 *           ┌─ eth1 node 1 eth2 ─┐
 * outside ──┤                    ├── inside     both sides: a bridge that floods
 *           └─ eth1 node 2 eth2 ─┘
 * ```
 * The hosts resolve their gateway by ARP and neighbour discovery once the nodes have set it up.
 */
export async function gateways(count: number): Promise<Gateways> {
  const all = (await Promise.all(Array.from({ length: count + 3 }, () => Namespace.create()))) as [
    Namespace,
    Namespace,
    Namespace,
    ...Namespace[],
  ];
  const [bridge, outside, inside, ...nodes] = all;
  await Promise.all([outside, inside, ...nodes].map((member) => member.sysctl(AT_ONCE)));
  await bridge.sysctl({ 'ipv6/conf/default/disable_ipv6': 1 });
  await buildSide(bridge, outside, nodes, OUTSIDE);
  await buildSide(bridge, inside, nodes, INSIDE);
  await setUpHost(outside, OUTSIDE, INSIDE);
  await setUpHost(inside, INSIDE, OUTSIDE);
  await Promise.all(
    nodes.map((node) => node.sysctl({ 'ipv4/ip_forward': 1, 'ipv6/conf/all/forwarding': 1 })),
  );
  await waitFor('the bridges', async () => {
    const links = await bridge.run('ip', ['-details', 'link', 'show']);
    return links.split('state forwarding').length - 1 === 2 * (count + 1);
  });
  return {
    outside,
    inside,
    nodes,
    async [Symbol.asyncDispose]() {
      await Promise.all(all.map((member) => member.close()));
    },
  };
}

async function buildSide(
  bridge: Namespace,
  host: Namespace,
  nodes: readonly Namespace[],
  side: typeof OUTSIDE,
): Promise<void> {
  const { name } = side;
  await bridge.ip(
    `link add ${name} type bridge mcast_snooping 0 stp_state 0`,
    `link set ${name} up`,
  );
  for (const [index, member] of [host, ...nodes].entries()) {
    const port = `${name}.${index}`;
    await bridge.veth(port, member, name);
    await bridge.ip(`link set ${port} master ${name} up`);
    await member.ip('link set lo up', `link set ${name} up`);
  }
  await Promise.all(nodes.map((node) => node.run('nft', ['-f', '-'], ownBytes(name))));
}

/*
 * The bridge gives every node the same bytes, and where a node's kernel fragments anew what it has put together, it
 * writes into them: the nodes would mix their fragments. To write first makes a copy.
 */
const ownBytes = (device: string): string => `table netdev ${device} {
  chain own-bytes {
    type filter hook ingress device ${device} priority 0
    ip frag-off & 0x3fff != 0 ip ttl set 64
    ip6 nexthdr ipv6-frag ip6 hoplimit set 64
  }
}`;

async function setUpHost(
  host: Namespace,
  own: typeof OUTSIDE,
  other: typeof OUTSIDE,
): Promise<void> {
  await host.sysctl({ 'ipv6/ip_nonlocal_bind': 1 });
  await host.ip(
    `address add ${own.host[4]}/24 dev ${own.name}`,
    `address add ${own.host[6]}/64 dev ${own.name} nodad`,
    `route add local ${own.prefix[4]} dev lo`,
    `route add local ${own.prefix[6]} dev lo`,
    `route add ${other.prefix[4]} via ${own.gateway[4]}`,
    `route add ${other.prefix[6]} via ${own.gateway[6]}`,
  );
}

/** The nodes' routes to the many addresses of both sides, once the nodes have addresses themselves. */
export async function routes(node: Namespace): Promise<void> {
  await node.ip(
    ...[OUTSIDE, INSIDE].flatMap(({ prefix, host }) => [
      `route add ${prefix[4]} via ${host[4]}`,
      `route add ${prefix[6]} via ${host[6]}`,
    ]),
  );
}

const endpoint = path.join(import.meta.dirname, 'endpoint.mjs');

/** Sends back what comes to these addresses, over TCP and UDP, until the namespace ends. */
export async function serve(
  host: Namespace,
  addresses: readonly string[],
  port = 7,
): Promise<void> {
  const args = [endpoint, 'serve', String(port), ...addresses];
  const child = host.spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout!, 'data');
}

/** Makes flows by real exchanges. @returns those that were not answered in full */
export async function ask(host: Namespace, flows: readonly Flow[]): Promise<Flow[]> {
  const output = await host.run(process.execPath, [endpoint, 'ask'], JSON.stringify(flows));
  return JSON.parse(output) as Flow[];
}

const EVIDENCE = `table inet evidence {
  set packets4 { type inet_proto . ipv4_addr . inet_service . ipv4_addr . inet_service; size 65535; flags dynamic; }
  set packets6 { type inet_proto . ipv6_addr . inet_service . ipv6_addr . inet_service; size 65535; flags dynamic; }
  chain forward {
    type filter hook forward priority 0
    ip frag-off & 0x1fff != 0 return
    frag frag-off != 0 return
    meta l4proto { tcp, udp } meta nfproto ipv4 add @packets4 { meta l4proto . ip saddr . th sport . ip daddr . th dport }
    meta l4proto { tcp, udp } meta nfproto ipv6 add @packets6 { meta l4proto . ip6 saddr . th sport . ip6 daddr . th dport }
  }
}`;

const FRAGMENTS = `table inet evidence {
  set first4 { typeof ip saddr . ip id; size 65535; flags dynamic; }
  set later4 { typeof ip saddr . ip id; size 65535; flags dynamic; }
  set first6 { typeof ip6 saddr . frag id; size 65535; flags dynamic; }
  set later6 { typeof ip6 saddr . frag id; size 65535; flags dynamic; }
  chain fragments {
    type filter hook forward priority 0
    ip frag-off & 0x1fff != 0 add @later4 { ip saddr . ip id } return
    frag frag-off != 0 add @later6 { ip6 saddr . frag id } return
    ip frag-off & 0x2000 != 0 add @first4 { ip saddr . ip id }
    frag more-fragments 1 add @first6 { ip6 saddr . frag id }
  }
}`;

/** What a node forwarded. */
export interface Forwarded {
  /** `tcp SRC SPORT DST DPORT`. */
  packets: Set<string>;
  /** Packets of which the first, or a later, fragment was forwarded: source and identification. */
  first: Set<string>;
  later: Set<string>;
}

/** Has the node's kernel note what it forwards, behind every decision. */
export async function collectForwarded(node: Namespace): Promise<void> {
  await node.run('nft', ['-f', '-'], EVIDENCE);
}

/** The same of fragments. False where nft is too old to: 1.0.2 concatenates no integers. */
export async function collectFragments(node: Namespace): Promise<boolean> {
  try {
    await node.run('nft', ['-f', '-'], FRAGMENTS);
    return true;
  } catch (error) {
    if (!/variable sized data types/.test((error as Error).message)) throw error;
    return false;
  }
}

interface Listing {
  nftables: { set?: { name: string; elem?: { concat: (string | number)[] }[] } }[];
}

export async function forwarded(node: Namespace): Promise<Forwarded> {
  const text = await node.run('nft', ['-j', 'list', 'table', 'inet', 'evidence']);
  const sets = (JSON.parse(text) as Listing).nftables.flatMap(({ set }) => set ?? []);
  const noted = (kind: string): Set<string> =>
    new Set(
      sets
        .filter(({ name }) => name.startsWith(kind))
        .flatMap(({ elem = [] }) => elem.map(({ concat }) => concat.join(' '))),
    );
  return { packets: noted('packets'), first: noted('first'), later: noted('later') };
}

/** The nodes, from 1, that forwarded a packet, of what each forwarded. */
export const forwarders = (seen: readonly Forwarded[], packet: string): number[] =>
  seen.flatMap(({ packets }, index) => (packets.has(packet) ? [index + 1] : []));

/** The flow's packets as evidence has them: there, and back. */
export const packetsOf = ({ protocol, src, sport, dst, dport }: Flow): [string, string] => [
  `${protocol} ${src} ${sport} ${dst} ${dport}`,
  `${protocol} ${dst} ${dport} ${src} ${sport}`,
];
