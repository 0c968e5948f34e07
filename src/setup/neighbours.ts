import type { ResolvedInterface } from '../options/types.js';
import type { InterfaceFacts } from './changes.js';

const NEIGHBOURS = 'neighbours';

/** ICMPv6 neighbour discovery, as far as it announces a MAC: the type, and the option with the MAC. */
const ADVERTISEMENT = { type: 136, option: '0x0201' };
const SOLICITATION = { type: 135, option: '0x0101' };

/**
 * Rules by which ARP announces the cluster MAC for a cluster address, in a table of family arp. The frame's
 * own source stays the interface's MAC, so that no switch learns a multicast MAC.
 */
export function arpTable(name: string, interfaces: readonly ResolvedInterface[]): string {
  const addresses = interfaces.flatMap((entry) => ofFamily(entry, 4));
  const speaking = interfaces.filter(({ mac }) => mac !== undefined);
  const all = `{ ${addresses.join(', ')} }`;
  const elsewhere = `oifname != { ${speaking.map(({ name: on }) => `"${on}"`).join(', ')} }`;
  const rules =
    addresses.length === 0
      ? []
      : [
          ...speaking.map(
            ({ name: on, mac }) =>
              `oifname "${on}" arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp operation { request, reply } arp saddr ip ${all} arp saddr ether set ${mac!}`,
          ),
          // An interface that is not the cluster's would tell its own MAC for the address. Its questions name no sender.
          `${elsewhere} arp operation reply arp saddr ip ${all} drop`,
          `${elsewhere} arp operation request arp saddr ip ${all} arp saddr ip set 0.0.0.0`,
        ];
  return chain(`arp ${name}`, `add table arp ${name}\n`, rules);
}

/**
 * The chain of the inet table by which neighbour discovery announces the cluster MAC for a cluster address.
 * What would still announce another, because the interface's own MAC has changed, is dropped.
 */
export function discoveryChain(
  name: string,
  interfaces: readonly ResolvedInterface[],
  facts: Readonly<Partial<Record<string, InterfaceFacts>>>,
): string {
  const addresses = interfaces.flatMap((entry) => ofFamily(entry, 6));
  const rules = interfaces.flatMap(({ name: on, mac }) => {
    if (mac === undefined) return [];
    const own = facts[on]?.mac ?? '';
    return addresses.flatMap((address) => [
      ...tell(`oifname "${on}" ${advertises(address)}`, ADVERTISEMENT, own, mac),
      ...tell(`oifname "${on}" ${solicits(address)}`, SOLICITATION, own, mac),
    ]);
  });
  return chain(`inet ${name}`, '', [...rules, ...interfaces.flatMap(unseen)]);
}

/**
 * The kernel reads hop-by-hop options before any rule sees the packet, so every node would complain of an unknown one.
 * Such a complaint, ICMPv6's parameter problem of code 2, quotes an IPv6 header whose next header is 0.
 */
const unseen = ({ name: on, mac }: ResolvedInterface): string[] =>
  mac === undefined
    ? []
    : [`oifname "${on}" icmpv6 type parameter-problem icmpv6 code 2 @th,112,8 0 drop`];

/** Whether a listed table has the chain that this file makes. */
export const hasNeighbours = (chains: readonly string[] | undefined): boolean =>
  chains?.includes(NEIGHBOURS) === true;

/**
 * A word that, put in the place of `word`, changes a checksum (RFC 1071) by as much as it changes when `mac`
 * replaces `own`.
 */
export function compensation(word: number, own: string, mac: string): number {
  const difference = word + sum(mac) - sum(own);
  return ((difference % 0xffff) + 0xffff) % 0xffff;
}

function tell(
  match: string,
  { type, option }: typeof ADVERTISEMENT,
  own: string,
  mac: string,
): string[] {
  const word = type << 8;
  const other = compensation(word, own, mac);
  const has = `${match} @th,192,16 ${option} @th,208,48`;
  /*
   * nft corrects the checksum only where it knows the field, and it knows no options. So the type and
   * code become, for a moment and with the checksum corrected, a word that differs from the right one by
   * as much as the MACs do, and then, with nothing corrected, the right one again.
   */
  const exchange = [
    `icmpv6 type set ${other >> 8}`,
    `icmpv6 code set ${other & 0xff}`,
    `@th,0,16 set ${word}`,
    `@th,208,48 set ${integer(mac)}`,
    'return',
  ].join(' ');
  return [
    ...(own === '' ? [] : [`${has} ${integer(own)} ${exchange}`]),
    `${has} != ${integer(mac)} drop`,
  ];
}

const advertises = (address: string): string =>
  `icmpv6 type nd-neighbor-advert @th,64,128 ${integer(groups(address), 16)}`;
const solicits = (address: string): string =>
  `icmpv6 type nd-neighbor-solicit ip6 saddr ${address}`;

/** Last of all output chains, so that nothing behind it changes what is announced. */
const chain = (table: string, before: string, rules: readonly string[]): string =>
  [
    `${before}add chain ${table} ${NEIGHBOURS} { type filter hook output priority 300; policy accept; }`,
    `flush chain ${table} ${NEIGHBOURS}`,
    ...rules.map((rule) => `add rule ${table} ${NEIGHBOURS} ${rule}`),
    '',
  ].join('\n');

/** The cluster addresses of one family. */
export const ofFamily = ({ addresses }: ResolvedInterface, family: 4 | 6): string[] =>
  addresses.filter((entry) => entry.family === family).map(({ address }) => address);

const octets = (mac: string): number[] => mac.split(':').map((part) => parseInt(part, 16));
const sum = (mac: string): number =>
  octets(mac).reduce((total, octet, at) => total + (at % 2 === 0 ? octet << 8 : octet), 0);

/** Octets in hexadecimal, or 16-bit groups, as one number of nft. */
const integer = (text: string, bits: 8 | 16 = 8): string =>
  `0x${text
    .split(':')
    .map((part) => part.padStart(bits / 4, '0'))
    .join('')}`;

/** An IPv6 address with all of its eight groups. */
function groups(address: string): string {
  const [head = '', tail] = address.split('::');
  const parts = (text: string): string[] => (text === '' ? [] : text.split(':'));
  const before = parts(head);
  const after = parts(tail ?? '');
  const zeros = Array<string>(8 - before.length - after.length).fill('0');
  return [...before, ...zeros, ...after].join(':');
}
