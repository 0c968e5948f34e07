import { lowestBit } from '../marks.js';
import type { ResolvedOptions } from '../options.js';
import type { Command } from './exec.js';
import { runOrThrow } from './exec.js';
import { connected, hashInto, type KeyField } from './hashing.js';
import { hex, join } from './words.js';

/*
 * What the kernel decides by itself: a connection's bucket is kept in its connmark, an address is hashed by
 * nft's own jhash, and the buckets owned are a set, so that a change of ownership is one transaction on it.
 */

/** What is owned, and the milliseconds until that ends: Infinity if never, 0 if it is over. */
export interface Owning {
  owned: readonly number[];
  remaining: () => number;
}

/** Named counters of our nft table: packets that the kernel has decided by itself. */
export const OFFLOADED = { owned: 'offloaded-owned', foreign: 'offloaded-foreign' } as const;

const OWNED = 'owned';

/** What the rules refer to, as lines of the table's transaction. */
export function offloadObjects({ offload }: ResolvedOptions, table: string): string[] {
  if (offload.length === 0) return [];
  return [
    ...Object.values(OFFLOADED).map((counter) => `add counter ${table} ${counter}`),
    `add set ${table} ${OWNED} { type mark; flags timeout; }`,
  ];
}

/** The chain that decides packets whose bucket is known. */
export const KNOWN = 'known';

/** How packets whose bucket is known leave the chain before the queue. */
export interface Outcomes {
  /** The statement for what is owned. */
  owned: string;
  foreign: string;
}

/**
 * The first rules before the queue: owned packets of known connections, which most are, by as few comparisons
 * as can be. What they miss comes to the rules behind them: an index may be another interface's by now.
 */
export const ownedFirst = (
  options: ResolvedOptions,
  { owned }: Outcomes,
  indexes: readonly number[],
): string[] =>
  !knowsConnections(options)
    ? []
    : indexes.map((index) => `iif ${index} ${ofOwned(options)} ${owned}`);

/**
 * Rules before the queue, ahead of all that a packet of a connection can be spared. Neighbour discovery, which
 * is nobody's to drop, has no connection; IGMP has.
 */
export const knownConnections = (options: ResolvedOptions): string[] =>
  !knowsConnections(options)
    ? []
    : [
        ...hashed(options, (key) => join(connected(key), 'ct state new')),
        `ct mark & ${hex(options.marks.bucket)} != 0 goto ${KNOWN}`,
      ];

/** Rules before the queue where no connection is followed: each packet's own address is the key. */
export const knownAddresses = (options: ResolvedOptions): string[] =>
  followsConnections(options) ? [] : hashed(options, ({ match }) => match);

/** Rules that hash the key of what is matched, and decide by it. */
const hashed = (options: ResolvedOptions, matching: (key: KeyField) => string): string[] =>
  !options.offload.includes('sources')
    ? []
    : hashInto(markOf(options), options, matching).map((rule) => `${rule} goto ${KNOWN}`);

/** The rules of that chain. */
export const knownRules = (options: ResolvedOptions, { owned, foreign }: Outcomes): string[] =>
  options.offload.length === 0
    ? []
    : [`${ofOwned(options)} ${owned}`, `counter name ${OFFLOADED.foreign} ${foreign}`];

/** Matches owned packets whose bucket is in that mark, and counts them. */
const ofOwned = (options: ResolvedOptions): string =>
  `${markOf(options)} & ${hex(options.marks.bucket)} @${OWNED} counter name ${OFFLOADED.owned}`;

/** The mark that tells a packet's bucket before the queue. */
const markOf = (options: ResolvedOptions): 'ct mark' | 'meta mark' =>
  followsConnections(options) ? 'ct mark' : 'meta mark';

/** Lines of a transaction that make the set what is owned; the timeouts end before the ownership does. */
export function ownedLines(
  { marks, offload }: ResolvedOptions,
  table: string,
  owned: readonly number[],
  timeout: number,
): string[] {
  if (offload.length === 0) return [];
  const ending = timeout === Infinity ? '' : ` timeout ${Math.floor(timeout)}ms`;
  const lowest = lowestBit(marks.bucket);
  const elements = owned.map((bucket) => `${hex((bucket + 1) * lowest)}${ending}`);
  return [
    `flush set ${table} ${OWNED}`,
    ...(elements.length === 0 || timeout < 1
      ? []
      : [`add element ${table} ${OWNED} { ${elements.join(', ')} }`]),
  ];
}

/** Whether the kernel decides packets of known connections. */
const knowsConnections = (options: ResolvedOptions): boolean =>
  options.offload.length > 0 && followsConnections(options);

const followsConnections = ({ conntrack }: Pick<ResolvedOptions, 'conntrack'>): boolean =>
  conntrack !== 'off';

/**
 * What the elements' timeouts are short of the ownership, in milliseconds: the kernel counts them from
 * when it takes the transaction, a moment after they were calculated.
 */
export const marginOf = (remaining: number): number => Math.min(MARGIN_MS, remaining / 4);

const MARGIN_MS = 100;

/**
 * Makes the set what is owned, in one transaction; again, where that took longer than the margin.
 * @throws NfqClusterError what `runOrThrow` throws; then the set is as it was
 */
export async function setOwned(
  options: ResolvedOptions,
  table: string,
  owning: Owning,
): Promise<void> {
  for (let margin = marginOf(owning.remaining()); ; margin *= 2) {
    const remaining = owning.remaining();
    const lines = ownedLines(options, table, owning.owned, remaining - margin);
    const { program, args, input } = transaction(lines);
    await runOrThrow('change what is owned', program, args, { input, netns: options.netns });
    if (remaining === Infinity || remaining <= margin) return;
    if (remaining - owning.remaining() <= margin) return;
  }
}

const transaction = (lines: readonly string[]): Command & { input: string } => ({
  program: 'nft',
  args: ['-f', '-'],
  input: `${lines.join('\n')}\n`,
});
