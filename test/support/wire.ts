import type { Options } from '../../src/options/types.js';
import { Namespace } from '../../src/lab/namespaces.js';
import { QUIET } from '../../src/lab/topology.js';

/** The two ends of a wire; on both sides its interface is `eth0`. */
export const SENDER = { ipv4: '10.1.0.1', ipv6: 'fd01::1', mac: '02:00:00:00:00:01' };
export const NODE = { ipv4: '10.1.0.2', ipv6: 'fd01::2', mac: '02:00:00:00:00:02' };

/** A multicast, locally administered MAC, such as a cluster shares. */
export const CLUSTER_MAC = '03:00:00:00:00:02';

export interface Wire extends AsyncDisposable {
  sender: Namespace;
  node: Namespace;
}

interface WireOptions {
  /**
   * The MAC under which the sender knows the node. The interface's own MAC is NODE.mac in any case.
   * @default NODE.mac
   */
  nodeMac?: string;
  /**
   * The queues of each interface. As many processors may hand packets over at the same time.
   * @default 1
   */
  queues?: number;
}

/**
 * Two namespaces on one wire. The node sends what is for any other address to the sender, so that
 * frames may come from everywhere. For a whole cluster there is `buildTopology` of the laboratory.
 */
export async function wire({ nodeMac = NODE.mac, queues }: WireOptions = {}): Promise<Wire> {
  const [sender, node] = await Promise.all([Namespace.create(), Namespace.create()]);
  await Promise.all([sender.sysctl(QUIET), node.sysctl(QUIET)]);
  await sender.veth('eth0', node, 'eth0', queues);
  await Promise.all([setUp(sender, SENDER, { ...NODE, mac: nodeMac }), setUp(node, NODE, SENDER)]);
  await node.ip(`route add default via ${SENDER.ipv4}`, `route add default via ${SENDER.ipv6}`);
  // What the node answers to a made-up address gets no answer in turn.
  await sender.ip('route add blackhole default', 'route add blackhole ::/0');
  return {
    sender,
    node,
    async [Symbol.asyncDispose]() {
      await Promise.all([sender.close(), node.close()]);
    },
  };
}

async function setUp(namespace: Namespace, own: typeof NODE, other: typeof NODE): Promise<void> {
  await namespace.ip(
    'link set lo up',
    `link set eth0 address ${own.mac} up`,
    `address add ${own.ipv4}/24 dev eth0`,
    `address add ${own.ipv6}/64 dev eth0 nodad`,
    `neighbour add ${other.ipv4} lladdr ${other.mac} dev eth0 nud permanent`,
    `neighbour add ${other.ipv6} lladdr ${other.mac} dev eth0 nud permanent`,
  );
}

/** Options of a node that owns all that enters by its eth0. */
export const owningAll = (node: Namespace, more: Partial<Options> = {}): Options => ({
  interfaces: ['eth0'],
  totalNodes: 1,
  localNode: 1,
  hashSeed: 0,
  netns: node.path,
  rules: 'auto',
  ...more,
});

/** What a cluster shares on a wire, in the subnets of its two ends. */
export const CLUSTER = { ipv4: '10.1.0.10', ipv6: 'fd01::10', mac: CLUSTER_MAC };

/** Options of a node that shares CLUSTER on its eth0. */
export const clusterOptions = (node: Namespace, more: Partial<Options> = {}): Options => ({
  interfaces: [
    { name: 'eth0', addresses: [`${CLUSTER.ipv4}/24`, `${CLUSTER.ipv6}/64`], mac: CLUSTER.mac },
  ],
  totalNodes: 2,
  localNode: 1,
  hashSeed: 1,
  rules: 'auto',
  netns: node.path,
  ...more,
});
