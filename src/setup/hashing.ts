import { lowestBit } from '../options/marks.js';
import type { ResolvedOptions } from '../options/types.js';
import { hex, join } from './words.js';

/* An address is hashed by nft's own jhash, as the engine would hash it. */

/** Where a packet's key is. */
interface KeyField {
  field: string;
  /** What the field does not imply: the interface, if not all have the same key, and the family. */
  match: string;
  /** The same, except for IGMP, which has connections but is every node's own. */
  connected: string;
}

/** As nft names a packet's addresses, and the first 32 bits of an IPv6 one. */
const FIELDS = {
  source: { ip: 'ip saddr', ip6: 'ip6 saddr', firstWord: '@nh,64,32' },
  destination: { ip: 'ip daddr', ip6: 'ip6 daddr', firstWord: '@nh,192,32' },
} as const;

/** For each family, and for each interface if their keys differ. */
export function keyFields({ interfaces, policy }: ResolvedOptions): KeyField[] {
  const alike = interfaces.every(({ key }) => key === interfaces[0]!.key);
  return (alike ? interfaces.slice(0, 1) : interfaces).flatMap(({ name, key }) => {
    const entering = alike ? '' : `iifname "${name}"`;
    const { ip, ip6, firstWord } = FIELDS[key];
    const ofIpv6 = join(entering, policy === 'xt_cluster' ? 'meta nfproto ipv6' : '');
    return [
      { field: ip, match: entering, connected: join(entering, 'ip protocol != igmp') },
      { field: policy === 'xt_cluster' ? firstWord : ip6, match: ofIpv6, connected: ofIpv6 },
    ];
  });
}

/** The number of the field's bucket. */
export const bucketOf = ({ buckets, hashSeed }: ResolvedOptions, { field }: KeyField): string =>
  `jhash ${field} mod ${buckets} seed ${hex(hashSeed)}`;

/** Sets one bit of `marks.bucket` in the connmark if the bucket has it, and keeps the others. */
export function markBitByHash(options: ResolvedOptions, key: KeyField, bit: number): string {
  const lowered = hex(bit / lowestBit(options.marks.bucket));
  return `${bucketOf(options, key)} offset 1 & ${lowered} == ${lowered} ct mark set ct mark | ${hex(bit)}`;
}

/** Gives a connection its bucket, if its mark is 0: nft cannot set a part of a mark from an expression. */
export function markByHash(options: ResolvedOptions, key: KeyField): string {
  const shift = Math.log2(lowestBit(options.marks.bucket));
  // The kernel refuses to shift by nothing.
  return `ct mark 0 ct mark set ${bucketOf(options, key)} offset 1${shift === 0 ? '' : ` << ${shift}`}`;
}
