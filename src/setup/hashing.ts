import { lowestBit } from '../marks.js';
import type { ResolvedOptions } from '../options.js';
import { hex, join } from './words.js';

/** Where a packet's key is. */
export interface KeyField {
  field: string;
  ipv4: boolean;
  /** What the field does not imply: the interface where not all have the same key, and the family. */
  match: string;
}

/**
 * Rules that hash the key of what is matched by nft's own jhash, as the engine would, into the bits of
 * `marks.bucket`. Only where all of that mark is 0, since nft cannot set a part of it from an expression.
 */
export const hashInto = (
  mark: 'ct mark' | 'meta mark',
  options: ResolvedOptions,
  matching: (key: KeyField) => string,
): string[] =>
  keyFields(options).map((key) => {
    const { buckets, hashSeed, marks } = options;
    const shift = Math.log2(lowestBit(marks.bucket));
    const bucket = `jhash ${key.field} mod ${buckets} seed ${hex(hashSeed)} offset 1 << ${shift}`;
    return join(matching(key), `${mark} 0 ${mark} set ${bucket}`);
  });

/** Matches what can be of a connection whose node is told by it: IGMP, which is every node's own, is not. */
export const connected = ({ ipv4, match }: KeyField): string =>
  join(match, ipv4 ? 'ip protocol != igmp' : '');

/** As nft names a packet's addresses, and the first 32 bits of an IPv6 one. */
const FIELDS = {
  source: { ip: 'ip saddr', ip6: 'ip6 saddr', firstWord: '@nh,64,32' },
  destination: { ip: 'ip daddr', ip6: 'ip6 daddr', firstWord: '@nh,192,32' },
} as const;

function keyFields({ interfaces, policy }: ResolvedOptions): KeyField[] {
  const alike = interfaces.every(({ key }) => key === interfaces[0]!.key);
  return (alike ? interfaces.slice(0, 1) : interfaces).flatMap(({ name, key }) => {
    const entering = alike ? '' : `iifname "${name}"`;
    const { ip, ip6, firstWord } = FIELDS[key];
    return [
      { field: ip, ipv4: true, match: entering },
      policy === 'xt_cluster'
        ? { field: firstWord, ipv4: false, match: join(entering, 'meta nfproto ipv6') }
        : { field: ip6, ipv4: false, match: entering },
    ];
  });
}
