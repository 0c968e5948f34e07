import type { Key } from '../options/types.js';
import {
  DISCOVERY,
  isStateless,
  requireForRules,
  requireThat,
  type Exportable,
} from './exportable.js';
import { hex } from '../setup/words.js';

/** The name of the table, in family inet. */
const TABLE = 'nfq-cluster-export';

/**
 * A table for `nft -f`, which `nft list ruleset` prints in a form that nft takes back. Nodes are counted from
 * 1 by an offset; fine-grained buckets from 0.
 * @param ipv4 rules for IPv4 alone; IPv6 passes undecided
 * @throws NfqClusterError `ERR_NOT_EXPORTABLE`
 */
export function nftRules(from: Exportable, ipv4: boolean): string {
  requireExpressible(from, ipv4);
  requireForRules(from);
  const { action, marks, interfaces } = from;
  const { value, mask } = marks.owned;
  const cleared = `meta mark set meta mark & ${hex(~mask)}`;
  const owned = `meta mark set meta mark & ${hex(~mask)} | ${hex(value)}`;
  const marking = action === 'mark';
  const passing = `${marking ? `${owned} ` : ''}return`;
  const names = interfaces.map(({ name }) => `"${name}"`).join(', ');
  const rules = [
    `iifname != { ${names} } return`,
    ...(ipv4 ? ['meta nfproto != ipv4 return'] : []),
    'meta pkttype multicast ip daddr != 224.0.0.0/4 meta pkttype set host',
    ...(ipv4 ? [] : ['meta pkttype multicast ip6 daddr != ff00::/8 meta pkttype set host']),
    ...(ipv4 ? [] : [`icmpv6 type { ${DISCOVERY.join(', ')} } ip6 hoplimit { 1, 255 } ${passing}`]),
    `ip protocol igmp ip daddr 224.0.0.0/4 ${passing}`,
    ...(marking ? [cleared] : []),
    // To ask for the state is to have the kernel track.
    ...(isStateless(from) ? [] : [`ct state invalid,untracked ${marking ? 'return' : 'drop'}`]),
    ...interfaces.flatMap(({ name, key }) =>
      decisions(from, key, ipv4).map((decision) =>
        marking
          ? decision.owned === undefined
            ? ''
            : `iifname "${name}" ${decision.owned} ${owned}`
          : `iifname "${name}" ${decision.foreign} drop`,
      ),
    ),
  ].filter((rule) => rule !== '');
  return [
    `table inet ${TABLE} {`,
    '\tchain prerouting {',
    '\t\ttype filter hook prerouting priority mangle; policy accept;',
    ...rules.map((rule) => `\t\t${rule}`),
    '\t}',
    '}',
    '',
  ].join('\n');
}

/** What matches the owned, and the foreign packets of each family; undefined: none. */
function decisions(
  from: Exportable,
  key: Key,
  ipv4: boolean,
): { owned: string | undefined; foreign: string }[] {
  const { buckets, classic, owned, hashSeed } = from;
  const first = classic ? 1 : 0;
  const values = owned.map((bucket) => bucket + first).join(', ');
  return (ipv4 ? ['ip'] : ['ip', 'ip6']).map((family) => {
    const address = addressOf(from, key, family);
    const hash = `jhash ${address} mod ${buckets} seed ${hex(hashSeed)}${classic ? ' offset 1' : ''}`;
    const protocol = family === 'ip' ? 'meta nfproto ipv4' : 'meta nfproto ipv6';
    return owned.length === 0
      ? { owned: undefined, foreign: protocol }
      : {
          owned: `${protocol} ${hash} { ${values} }`,
          foreign: `${protocol} ${hash} != { ${values} }`,
        };
  });
}

function addressOf(from: Exportable, key: Key, family: string): string {
  if (key === 'destination') return `${family} daddr`;
  // With the protocol named, as `ct original saddr` alone cannot be listed.
  return isStateless(from) ? `${family} saddr` : `ct original ${family} saddr`;
}

function requireExpressible({ policy, interfaces }: Exportable, ipv4: boolean): void {
  requireThat(
    policy === 'jhash' || (policy === 'xt_cluster' && ipv4),
    `nft cannot hash as policy ${policy} does` +
      (policy === 'xt_cluster' ? ', by only the first 32 bits of an IPv6 flow’s source' : ''),
    policy === 'xt_cluster' ? 'For IPv4 alone it can: --ipv4' : undefined,
  );
  requireThat(
    interfaces.every(({ name }) => !/[*"\\]/.test(name)),
    'An interface has a name that means something else in a rule',
  );
}
