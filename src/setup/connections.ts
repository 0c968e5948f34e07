import { keepsBucket } from '../conntrack-options.js';
import { lowestBit } from '../marks.js';
import type { ResolvedOptions } from '../options.js';
import { isClusterip } from './clusterip.js';
import { keyFields, markBitByHash, markByHash } from './hashing.js';
import { hex, join } from './words.js';

/* What the rules tell the engine of a packet's connection, and keep in the connmark for its later packets. */

type Options = Pick<ResolvedOptions, 'marks' | 'buckets' | 'conntrack' | 'offload'>;

/**
 * Matches packets whose own source is the key: that go in their connection's original direction, are no ICMP
 * error, and have no master.
 */
const DIRECT = 'ct direction original ct state new,established ct status & expected == 0';

/** Whether a packet must be of a connection to be owned; a rule that says so makes the kernel track all. */
export const needsConntrack = (options: Pick<ResolvedOptions, 'conntrack' | 'policy'>): boolean =>
  options.conntrack !== 'off' || isClusterip(options);

/** Rules before the queue; the bits that they set are clear. */
export function directRules(options: Options): string[] {
  const { direct } = options.marks;
  return [
    ...(direct === 0 ? [] : [join(DIRECT, `meta mark set meta mark | ${hex(direct)}`)]),
    // What is offloaded does not come here once its bucket is known.
    ...(options.offload.length > 0 ? [] : bucketBits(options)).map(
      (bit) => `ct mark & ${hex(bit)} == ${hex(bit)} meta mark set meta mark | ${hex(bit)}`,
    ),
  ];
}

/** The chain that gives a connection its bucket. */
export const BUCKET = 'bucket';

/** The rule before the queue that has packets pass it, whose connection has none. */
export const toBucket = (options: Options): string[] =>
  keepsBucket(options) ? [`ct mark & ${hex(options.marks.bucket)} == 0 jump ${BUCKET}`] : [];

/**
 * Its rules, for what enters and for what leaves by our interfaces, there before its source is translated: a connection may
 * have entered by none of them, and what a helper awaits of it may. A related connection inherits its master's. Where somebody
 * else has set the connmark it is done bit by bit, of new connections alone: no other packet can see a part of the bucket.
 */
export const bucketRules = (options: ResolvedOptions): string[] =>
  !keepsBucket(options)
    ? []
    : [
        ...keyFields(options).map((key) =>
          join(key.connected, DIRECT, markByHash(options, key), 'return'),
        ),
        ...keyFields(options).flatMap((key) =>
          bucketBits(options).map((bit) =>
            join(key.connected, 'ct state new', markBitByHash(options, key, bit)),
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
