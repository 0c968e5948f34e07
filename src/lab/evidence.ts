import type { Namespace } from './namespaces.js';
import { flowKey, type Flow } from './protocol.js';
import { INTERFACE, SHARED } from './topology.js';

/*
 * Counts behind the decision and apart from the clients: a node's kernel notes each flow that
 * gets through to local input, so that a second owner is seen though it never answers.
 */
const rules = `
table inet nfq-cluster-lab {
  set flows4 { type inet_proto . ipv4_addr . inet_service; size 65535; flags dynamic; }
  set flows6 { type inet_proto . ipv6_addr . inet_service; size 65535; flags dynamic; }
  chain input {
    type filter hook input priority 0; policy accept;
    iifname ${INTERFACE} meta l4proto { tcp, udp } ip daddr ${SHARED.ipv4} th dport ${SHARED.port} add @flows4 { meta l4proto . ip saddr . th sport }
    iifname ${INTERFACE} meta l4proto { tcp, udp } ip6 daddr ${SHARED.ipv6} th dport ${SHARED.port} add @flows6 { meta l4proto . ip6 saddr . th sport }
  }
}`;

type Element = { concat: [Flow['protocol'], string, number] };
interface Listing {
  nftables: { set?: { elem?: Element[] } }[];
}

export async function collectEvidence(node: Namespace): Promise<void> {
  await node.run('nft', ['-f', '-'], rules);
}

/** The keys of all flows of which a packet reached the node's local input. */
export async function flowsLetIn(node: Namespace): Promise<Set<string>> {
  const listing = JSON.parse(
    await node.run('nft', ['-j', 'list', 'table', 'inet', 'nfq-cluster-lab']),
  ) as Listing;
  const elements = listing.nftables.flatMap(({ set }) => set?.elem ?? []);
  return new Set(
    elements.map(({ concat: [protocol, source, port] }) => flowKey({ protocol, source, port })),
  );
}
