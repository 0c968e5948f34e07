import {
  DISCOVERY,
  isStateless,
  requireForRules,
  requireThat,
  type Exportable,
} from './exportable.js';
import { inverted } from '../options/buckets.js';
import { hex } from '../setup/words.js';

/**
 * The rules of the man page, for `iptables-restore --noflush` or `ip6tables-restore --noflush`: mark what is
 * this node's, drop what is not.
 * @throws NfqClusterError `ERR_NOT_EXPORTABLE`
 */
export function iptablesRules(from: Exportable, program: 'iptables' | 'ip6tables'): string {
  requireExpressible(from, program);
  requireForRules(from);
  const { owned, buckets, action, marks, interfaces } = from;
  const mark = `${hex(marks.owned.value)}/${hex(marks.owned.mask)}`;
  const setMark = `-j MARK --set-xmark ${mark}`;
  const rules = interfaces.flatMap(({ name }) => {
    const rule = `-A PREROUTING -i ${name}`;
    return [
      `${rule} -j MARK --set-xmark 0x0/${hex(marks.owned.mask)}`,
      ...matches(from).map((match) => `${rule} ${match} ${setMark}`),
      ...everyNodes(program).map((match) => `${rule} ${match} ${setMark}`),
      ...(action === 'drop' ? [`${rule} -m mark ! --mark ${mark} -j DROP`] : []),
    ];
  });
  const comments = [
    `# for ${program}-restore --noflush; ${owned.length} of ${buckets} nodes`,
    ...(owned.some((bucket) => bucket >= 6)
      ? [`# what ${program}-save prints for node 7 and above, ${program}-restore does not accept`]
      : []),
  ];
  return [...comments, '*mangle', ...rules, 'COMMIT', ''].join('\n');
}

/** A rule for each node, as a mask above 32 cannot be given; or one for all but one. */
function matches({ buckets, owned, hashSeed }: Exportable): string[] {
  const match = (local: string): string =>
    `-m cluster --cluster-total-nodes ${buckets} ${local} --cluster-hash-seed ${hex(hashSeed)}`;
  const node = (bucket: number): string => `--cluster-local-node ${bucket + 1}`;
  const foreign = inverted(owned, buckets);
  return foreign.length === 1 && owned.length > 1
    ? [match(`! ${node(foreign[0]!)}`)]
    : owned.map((bucket) => match(node(bucket)));
}

/** What every node answers for itself. */
const everyNodes = (program: 'iptables' | 'ip6tables'): string[] =>
  program === 'iptables'
    ? ['-d 224.0.0.0/4 -p igmp']
    : DISCOVERY.map(
        (type) =>
          `-p ipv6-icmp -m hl --hl-eq ${isMulticastListener(type) ? 1 : 255} -m icmp6 --icmpv6-type ${type}`,
      );

const isMulticastListener = (type: number): boolean => type < 133 || type === 143;

function requireExpressible(from: Exportable, program: 'iptables' | 'ip6tables'): void {
  const { policy, buckets, interfaces } = from;
  requireThat(
    policy === 'xt_cluster' || (policy === 'jhash' && program === 'iptables'),
    `${program} cannot hash as policy ${policy} does` +
      (policy === 'jhash' ? ': its match takes only the first 32 bits of an IPv6 address' : ''),
    policy === 'jhash' ? 'nft can, for both families' : undefined,
  );
  requireThat(buckets <= 32, `${program} has at most 32 nodes, but there are ${buckets} buckets`);
  requireThat(
    interfaces.every(({ key }) => key === 'source'),
    `${program} cannot hash the destination`,
    'nft can',
  );
  requireThat(
    !isStateless(from),
    `${program} decides only by connections, but conntrack is off`,
    'nft can decide each packet by its own header',
  );
  requireThat(
    interfaces.every(({ name }) => /^[\p{L}\p{N}_.@=~%,-]+$/u.test(name)),
    'An interface has a name that means something else in a rule',
  );
}
