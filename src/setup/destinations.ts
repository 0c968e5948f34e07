import type { ResolvedInterface, ResolvedOptions } from '../options/types.js';
import { ofFamily } from './neighbours.js';

type Interfaces = readonly ResolvedInterface[];

const FAMILIES = [
  { family: 4, daddr: 'ip daddr', multicast: '224.0.0.0/4' },
  { family: 6, daddr: 'ip6 daddr', multicast: 'ff00::/8' },
] as const;

/** Matches for incoming packets that are not the cluster's, on interfaces that decide only their addresses. */
export const elsewhere = (interfaces: Interfaces): string[] =>
  interfaces.filter(isNarrow).flatMap((entry) =>
    FAMILIES.map(({ family, daddr }) => {
      const addresses = ofFamily(entry, family);
      const match =
        addresses.length === 0 ? `meta nfproto ipv${family}` : `${daddr} != ${anyOf(addresses)}`;
      return `iifname "${entry.name}" ${match}`;
    }),
  );

/** The chain for packets in multicast frames. */
export const FOR_HOST = 'for-host';

/** The rule that sends them there. */
export const toForHost = ({ policy }: Pick<ResolvedOptions, 'policy'>): string[] =>
  policy === 'clusterip' ? [] : [`meta pkttype multicast jump ${FOR_HOST}`];

/** Its rules that give the cluster's unicast packets the pkt_type HOST. */
export function unicastForHost(interfaces: Interfaces): string[] {
  const wide = interfaces.filter((entry) => !isNarrow(entry));
  const everywhere = wide.length === interfaces.length;
  const entering = everywhere ? '' : `iifname ${anyOf(wide.map(({ name }) => `"${name}"`))} `;
  return [
    ...(wide.length === 0
      ? []
      : FAMILIES.map(({ daddr, multicast }) => forHost(entering, `${daddr} != ${multicast}`))),
    ...interfaces.filter(isNarrow).flatMap((entry) =>
      FAMILIES.flatMap(({ family, daddr }) => {
        const addresses = ofFamily(entry, family);
        if (addresses.length === 0) return [];
        return [forHost(`iifname "${entry.name}" `, `${daddr} ${anyOf(addresses)}`)];
      }),
    ),
  ];
}

/** The chain for packets that arrive on no interface of the setup. */
export const BY_OTHERS = 'by-others';

/**
 * Its rules: on another interface of the same wire, the cluster's frames would reach every node undecided.
 * Addresses come first: behind the MAC, nft would also ask for the frame's type, which of a VLAN's frame is another.
 * @param vrfs where packets pass again that were already decided on the interface where they arrived
 */
export function byOthers(interfaces: Interfaces, vrfs: readonly string[]): string[] {
  const drops = interfaces.flatMap((entry) =>
    FAMILIES.flatMap(({ family, daddr }) => {
      const addresses = ofFamily(entry, family);
      return addresses.length === 0
        ? []
        : [`${daddr} ${anyOf(addresses)} ether daddr ${entry.mac!} drop`];
    }),
  );
  if (drops.length === 0 || vrfs.length === 0) return drops;
  return [`iifname ${anyOf(vrfs.map((name) => `"${name}"`))} return`, ...drops];
}

const isNarrow = ({ destinations }: ResolvedInterface): boolean => destinations === 'addresses';

const forHost = (entering: string, match: string): string =>
  `${entering}${match} meta pkttype set host`;

const anyOf = (items: readonly string[]): string => `{ ${items.join(', ')} }`;
