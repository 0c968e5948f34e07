import { keepsBucket } from '../options/conntrack.js';
import { lowestBit } from '../options/marks.js';
import type { ResolvedOptions } from '../options/types.js';
import { isClusterip } from './clusterip.js';
import { keyFields, markBitByHash, markByHash } from './hashing.js';
import { hex, join } from './words.js';

/* What the rules tell the engine about a packet's connection, and keep in the connmark for its later packets. */

type Options = Pick<ResolvedOptions, 'marks' | 'buckets' | 'conntrack' | 'offload'>;

/**
 * Matches packets whose own source is the key: that go in their connection's original direction, are no ICMP
 * error, and have no master.
 */
const DIRECT = 'ct direction original ct state new,established ct status & expected == 0';

/** Whether only packets of a connection can be owned; a rule that asks for one makes the kernel track them all. */
export const needsConntrack = (options: Pick<ResolvedOptions, 'conntrack' | 'policy'>): boolean =>
  options.conntrack !== 'off' || isClusterip(options);

/** The chain that gives a connection its bucket. */
export const BUCKET = 'bucket';

/** Rules before the queue; the bits of the mark that they set are clear. */
export function directRules(options: Options): string[] {
  const { direct } = options.marks;
  const isDirect = `meta mark & ${hex(direct)} == ${hex(direct)}`;
  return [
    ...(direct === 0 ? [] : [join(DIRECT, `meta mark set meta mark | ${hex(direct)}`)]),
    ...(keepsBucket(options) ? [join(isDirect, hasNoBucket(options), `jump ${BUCKET}`)] : []),
    // With offload, packets whose bucket is known do not get here.
    ...(options.offload.length > 0 ? [] : bucketBits(options)).map(
      (bit) => `ct mark & ${hex(bit)} == ${hex(bit)} meta mark set meta mark | ${hex(bit)}`,
    ),
  ];
}

/** Sends leaving packets through that chain: their connection may not have entered by one of our interfaces. */
export const whereItLeaves = `${DIRECT} jump ${BUCKET}`;

/** Matches packets of connections without a bucket. */
export const hasNoBucket = ({ marks }: Pick<Options, 'marks'>): string =>
  `ct mark & ${hex(marks.bucket)} == 0`;

/**
 * The rules of that chain, ahead of source NAT; connections that a helper expects inherit the bucket. If somebody
 * else has set other bits of the connmark, ours are set one by one, and only by a connection's first packet, so that no
 * other packet can see only some of them.
 */
export const bucketRules = (options: ResolvedOptions): string[] =>
  !keepsBucket(options)
    ? []
    : [
        ...keyFields(options).map((key) => join(key.connected, markByHash(options, key), 'return')),
        ...keyFields(options).flatMap((key) =>
          bucketBits(options).map((bit) =>
            join(key.connected, 'ct status & confirmed == 0', markBitByHash(options, key, bit)),
          ),
        ),
      ];

/** One rule for each bit, as nft cannot set a part of one mark from a part of the other. */
function bucketBits(options: Options): number[] {
  if (!keepsBucket(options)) return [];
  const { marks, buckets } = options;
  const lowest = lowestBit(marks.bucket);
  const width = Math.floor(Math.log2(buckets)) + 1;
  return Array.from({ length: width }, (_, bit) => lowest * 2 ** bit);
}
