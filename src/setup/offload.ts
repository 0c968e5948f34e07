import type { ResolvedOptions } from '../options/types.js';
import { toForHost } from './destinations.js';
import { bucketOf, keyFields, markByHash } from './hashing.js';
import {
  ENDING_MARKS,
  FOREIGN_BUCKETS,
  knowsForeign,
  OWNED_BUCKETS,
  OWNED_MARKS,
  ownedSets,
} from './owned.js';
import { hex, join } from './words.js';

/*
 * What the kernel decides by itself: by a connection's bucket, which is kept in its connmark, or by the bucket
 * of an address.
 */

/** Named counters of our nft table: packets that the kernel has decided by itself. */
const OFFLOADED = { owned: 'offloaded-owned', foreign: 'offloaded-foreign' } as const;

/** The objects that the rules refer to, as lines of the table's transaction. */
export const offloadObjects = (options: ResolvedOptions, table: string): string[] =>
  options.offload.length === 0
    ? []
    : [
        ...Object.values(OFFLOADED).map((counter) => `add counter ${table} ${counter}`),
        ...ownedSets(options, table),
      ];

/** The chain that decides packets of connections whose bucket is known. */
export const KNOWN = 'known';

/** The statements by which packets leave the chain before the queue. */
export interface Outcomes {
  owned: string;
  foreign: string;
}

/** The outcome of packets that leave it as they came. */
export const UNCHANGED = 'return';

/**
 * The very first rules, at which most packets leave: owned packets of known connections. They ask only for the
 * interface's index, which is compared faster than a name, but may be another interface's by now. So they are limited
 * to rules by which packets leave as they came.
 */
export function firstRules(
  options: ResolvedOptions,
  outcomes: Outcomes,
  indexes: readonly number[],
): string[] {
  const { byIndex } = leading(options, outcomes);
  return indexes.flatMap((index) => byIndex.map((rule) => `iif ${index} ${rule}`));
}

/** The rules right behind the test for the interfaces' names: those that drop, or write a mark. */
export const namedRules = (options: ResolvedOptions, outcomes: Outcomes): string[] =>
  leading(options, outcomes).byName;

/** Owned packets of known connections, and foreign ones of new connections, with as few comparisons as possible. */
function leading(
  options: ResolvedOptions,
  outcomes: Outcomes,
): { byIndex: string[]; byName: string[] } {
  const fixed = toForHost(options);
  if (!knowsConnections(options)) return { byIndex: [], byName: fixed };
  const [lasting, ending] = ofOwned(options, outcomes);
  const foreignNew = ofForeignNew(options, outcomes);
  if (outcomes.owned !== UNCHANGED) {
    return { byIndex: [], byName: [...fixed, lasting, ...foreignNew, ending] };
  }
  // Foreign packets are spared the slower lookup in the set of an ownership that ends.
  return foreignNew.length === 0
    ? { byIndex: [...fixed, lasting, ending], byName: fixed }
    : { byIndex: [...fixed, lasting], byName: [...foreignNew, ...fixed, ending] };
}

const ofForeignNew = (options: ResolvedOptions, outcomes: Outcomes): string[] =>
  !knowsForeign(options)
    ? []
    : keyFields(options).map((key) =>
        join(
          key.connected,
          `ct state new ${bucketOf(options, key)} @${FOREIGN_BUCKETS}`,
          foreign(outcomes),
        ),
      );

/**
 * Rules before the queue, ahead of all others that packets of known connections need not pass. Neighbour
 * discovery, which is nobody's to drop, has no connection; IGMP has one.
 */
export const knownConnections = (options: ResolvedOptions): string[] =>
  !knowsConnections(options)
    ? []
    : [
        ...(options.offload.includes('sources') ? keyFields(options) : []).map((key) =>
          join(key.connected, `ct state new ${markByHash(options, key)} goto ${KNOWN}`),
        ),
        `ct mark & ${hex(options.marks.bucket)} != 0 goto ${KNOWN}`,
      ];

/** The rules of that chain. */
export const knownRules = (options: ResolvedOptions, outcomes: Outcomes): string[] =>
  knowsConnections(options) ? [...ofOwned(options, outcomes), foreign(outcomes)] : [];

/** Rules for all packets, where no connection is followed: nothing is left to the queue. */
export const knownAddresses = (options: ResolvedOptions, outcomes: Outcomes): string[] =>
  options.offload.length === 0 || knowsConnections(options)
    ? []
    : [
        ...keyFields(options).map((key) =>
          join(key.match, `${bucketOf(options, key)} @${OWNED_BUCKETS}`, owned(outcomes)),
        ),
        foreign(outcomes),
      ];

const ofOwned = ({ marks }: ResolvedOptions, outcomes: Outcomes): [string, string] => {
  const rule = (set: string): string => `ct mark & ${hex(marks.bucket)} @${set} ${owned(outcomes)}`;
  return [rule(OWNED_MARKS), rule(ENDING_MARKS)];
};

const owned = (outcomes: Outcomes): string => `counter name ${OFFLOADED.owned} ${outcomes.owned}`;
const foreign = (outcomes: Outcomes): string =>
  `counter name ${OFFLOADED.foreign} ${outcomes.foreign}`;

/** Whether the kernel decides packets of known connections. */
const knowsConnections = ({ offload, conntrack }: ResolvedOptions): boolean =>
  offload.length > 0 && conntrack !== 'off';
