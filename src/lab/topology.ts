import { setTimeout as delay } from 'node:timers/promises';
import { NfqClusterError } from '../errors.js';
import { Namespace } from './namespaces.js';
import { SOURCE_PREFIXES } from './sources.js';

/**
 * What all nodes share. The MAC is multicast, so that a switch shows its frames to all of them,
 * locally administered, and carries the IPv4 address, as Windows NLB does it.
 */
export const SHARED = {
  ipv4: '192.0.2.10',
  ipv6: '2001:db8::10',
  mac: '03:bf:c0:00:02:0a',
  port: 5060,
};

/** The interface of a node, and of the clients. */
export const INTERFACE = 'eth0';

const GATEWAY = { ipv4: '192.0.2.254', ipv6: '2001:db8::fe', mac: '02:00:c0:00:02:fe' };

/** Kernel parameters of a namespace whose interfaces are to come up at once. */
export const AT_ONCE = {
  'ipv6/conf/default/accept_dad': 0,
  'ipv6/conf/default/accept_ra': 0,
};

/** And whose interfaces send nothing by themselves. */
export const QUIET = {
  ...AT_ONCE,
  'ipv6/conf/default/addr_gen_mode': 1, // no link-local address, so no solicitation
};

export interface Topology {
  clients: Namespace;
  /** Index 0 is node 1. */
  nodes: Namespace[];
  bridge: Namespace;
}

/**
 * ```
 * clients (all of SOURCE_PREFIXES) ── bridge, floods ─┬─ node 1 ┐
 *                                                     ├─ node 2 │ the same addresses,
 *                                                     └─ …      ┘ the same multicast MAC
 * ```
 */
export async function buildTopology(count: number): Promise<Topology> {
  const [bridge, clients, ...nodes] = (await Promise.all(
    Array.from({ length: count + 2 }, () => Namespace.create()),
  )) as [Namespace, Namespace, ...Namespace[]];
  await Promise.all([clients, ...nodes].map((namespace) => namespace.sysctl(AT_ONCE)));
  await buildBridge(bridge, [clients, ...nodes]);
  await Promise.all([setUpClients(clients), ...nodes.map(setUpNode)]);
  await forwarding(bridge, count + 1);
  return { bridge, clients, nodes };
}

export async function closeTopology({ bridge, clients, nodes }: Topology): Promise<void> {
  await Promise.all([bridge, clients, ...nodes].map((namespace) => namespace.close()));
}

async function buildBridge(bridge: Namespace, members: readonly Namespace[]): Promise<void> {
  await bridge.sysctl({ 'ipv6/conf/default/disable_ipv6': 1 });
  await bridge.ip('link add br0 type bridge mcast_snooping 0 stp_state 0', 'link set br0 up');
  for (const [index, member] of members.entries()) {
    const port = index === 0 ? 'clients' : `node${index}`;
    await bridge.veth(port, member, INTERFACE);
    await bridge.ip(`link set ${port} master br0 up`);
  }
}

async function setUpClients(clients: Namespace): Promise<void> {
  await clients.sysctl({ 'ipv6/ip_nonlocal_bind': 1 });
  await clients.ip(
    'link set lo up',
    `link set ${INTERFACE} address ${GATEWAY.mac} up`,
    `address add ${GATEWAY.ipv4}/24 dev ${INTERFACE}`,
    `address add ${GATEWAY.ipv6}/64 dev ${INTERFACE} nodad`,
    ...[...SOURCE_PREFIXES.ipv4, ...SOURCE_PREFIXES.ipv6].map(
      (prefix) => `route add local ${prefix} dev lo`,
    ),
  );
}

/** What is shared, the node's own setup adds; and nobody is told where anybody else is. */
const setUpNode = (node: Namespace): Promise<void> =>
  node.ip('link set lo up', `link set ${INTERFACE} up`);

/** The way back to the clients, once the node has addresses. */
export const routeBack = (node: Namespace): Promise<void> =>
  node.ip(`route add default via ${GATEWAY.ipv4}`, `route add default via ${GATEWAY.ipv6}`);

/** Waits until every port of the bridge passes frames. */
async function forwarding(bridge: Namespace, ports: number): Promise<void> {
  for (const deadline = Date.now() + 10_000; Date.now() < deadline; await delay(20)) {
    const links = await bridge.run('ip', ['-details', 'link', 'show', 'master', 'br0']);
    if (links.split('state forwarding').length - 1 === ports) return;
  }
  throw new NfqClusterError(
    'ERR_SYSTEM',
    `The bridge of the laboratory did not come up: ${ports} ports expected`,
  );
}
