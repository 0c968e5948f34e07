import { lowestBit } from '../marks.js';
import type { ResolvedOptions } from '../options.js';
import { runOrThrow } from './exec.js';
import { hex } from './words.js';

/*
 * What is owned, as sets of nft: a change of ownership is one transaction on them, and their elements end with
 * the ownership.
 */

/** What is owned, and the milliseconds until that ends: Infinity if never, 0 if it is over. */
export interface Owning {
  owned: readonly number[];
  remaining: () => number;
}

/** The set of the bits of `marks.bucket` in the connmarks of owned connections. */
export const OWNED_MARKS = 'owned-marks';
/** The set of the owned buckets' numbers, as an address is hashed to them. */
export const OWNED_BUCKETS = 'owned-buckets';

interface OwnedSet {
  name: string;
  key: string;
  element: (bucket: number) => string;
}

function setsOf({ offload, conntrack, marks }: ResolvedOptions): OwnedSet[] {
  const lowest = lowestBit(marks.bucket);
  const mark = (bucket: number): string => hex((bucket + 1) * lowest);
  return [
    ...(offload.length > 0 && conntrack !== 'off'
      ? [{ name: OWNED_MARKS, key: 'type mark', element: mark }]
      : []),
    // nft has no name for the type of a hash, an integer of 32 bits as this is.
    ...(offload.includes('sources')
      ? [{ name: OWNED_BUCKETS, key: 'typeof meta length', element: String }]
      : []),
  ];
}

/** The sets, as lines of the table's transaction. */
export const ownedSets = (options: ResolvedOptions, table: string): string[] =>
  setsOf(options).map(({ name, key }) => `add set ${table} ${name} { ${key}; flags timeout; }`);

/** Lines of a transaction that make the sets what is owned; the timeouts end before the ownership does. */
export function ownedLines(
  options: ResolvedOptions,
  table: string,
  owned: readonly number[],
  timeout: number,
): string[] {
  const ending = timeout === Infinity ? '' : ` timeout ${Math.floor(timeout)}ms`;
  return setsOf(options).flatMap(({ name, element }) => {
    const elements = owned.map((bucket) => `${element(bucket)}${ending}`);
    return [
      `flush set ${table} ${name}`,
      ...(elements.length === 0 || timeout < 1
        ? []
        : [`add element ${table} ${name} { ${elements.join(', ')} }`]),
    ];
  });
}

/**
 * What the elements' timeouts are short of the ownership, in milliseconds: the kernel counts them from
 * when it takes the transaction, a moment after they were calculated.
 */
export const marginOf = (remaining: number): number => Math.min(MARGIN_MS, remaining / 4);

const MARGIN_MS = 100;

/**
 * Makes the sets what is owned, in one transaction; again, where that took longer than the margin.
 * @throws NfqClusterError what `runOrThrow` throws; then the sets are as they were
 */
export async function setOwned(
  options: ResolvedOptions,
  table: string,
  owning: Owning,
): Promise<void> {
  for (let margin = marginOf(owning.remaining()); ; margin *= 2) {
    const remaining = owning.remaining();
    const input = `${ownedLines(options, table, owning.owned, remaining - margin).join('\n')}\n`;
    await runOrThrow('change what is owned', 'nft', ['-f', '-'], { input, netns: options.netns });
    if (remaining === Infinity || remaining <= margin) return;
    if (remaining - owning.remaining() <= margin) return;
  }
}
