import { inverted } from '../buckets.js';
import { NfqClusterError } from '../errors.js';
import { MAX_BUCKETS } from '../limits.js';
import { lowestBit } from '../marks.js';
import type { ResolvedOptions } from '../options.js';
import { elsewhere } from './destinations.js';
import { runOrThrow } from './exec.js';
import { hex } from './words.js';

/*
 * What is owned, as sets of nft: a change of ownership is one transaction on them, and elements end with the
 * ownership. nft looks faster into a set of a fixed size, which can have no timeouts.
 */

/** What is owned, and the milliseconds until that ends: Infinity if never, 0 if it is over. */
export interface Owning {
  owned: readonly number[];
  remaining: () => number;
}

export const NOTHING: Owning = { owned: [], remaining: () => Infinity };

/** The set of the bits of `marks.bucket` in the connmarks of owned connections, while that has no end. */
export const OWNED_MARKS = 'owned-marks';
/** The same of an ownership that ends. */
export const ENDING_MARKS = 'ending-marks';
/** The set of the owned buckets' numbers, as an address is hashed to them. */
export const OWNED_BUCKETS = 'owned-buckets';
/** The set of all others: an ownership that ends does not need to enter it, as what misses every set is foreign. */
export const FOREIGN_BUCKETS = 'foreign-buckets';

/**
 * Whether foreign packets of new connections end at their hash: not where some are nobody's to drop; nor where they
 * pass, so that their connections need a bucket.
 */
export const knowsForeign = ({
  offload,
  conntrack,
  action,
  interfaces,
}: ResolvedOptions): boolean =>
  offload.includes('sources') &&
  conntrack !== 'off' &&
  action === 'drop' &&
  elsewhere(interfaces).length === 0;

/**
 * The set whose one element is there only as long as a transaction would come in time. The transaction takes it
 * away, so that the kernel refuses it where it comes later, whatever held it up: nft, or this process.
 */
const IN_TIME = 'in-time';

interface OwnedSet {
  name: string;
  definition: string;
  elements: string[];
}

/** As nft names a 32-bit integer; it has no name for the type of a hash. */
const BUCKET = 'typeof meta length';
const FIXED = `size ${MAX_BUCKETS}`;
const TIMED = 'flags timeout';

function setsOf(options: ResolvedOptions, owned: readonly number[], timeout: number): OwnedSet[] {
  const { offload, conntrack, marks, buckets } = options;
  if (offload.length === 0) return [];
  const lasts = timeout === Infinity;
  const ending = lasts ? '' : ` timeout ${time(timeout)}`;
  if (conntrack === 'off') {
    const elements = owned.map((bucket) => `${bucket}${ending}`);
    return [{ name: OWNED_BUCKETS, definition: `${BUCKET}; ${TIMED}`, elements }];
  }
  const elements = owned.map((bucket) => `${hex((bucket + 1) * lowestBit(marks.bucket))}${ending}`);
  const foreign = inverted(owned, buckets).map(String);
  return [
    { name: OWNED_MARKS, definition: `type mark; ${FIXED}`, elements: lasts ? elements : [] },
    { name: ENDING_MARKS, definition: `type mark; ${TIMED}`, elements: lasts ? [] : elements },
    ...(knowsForeign(options)
      ? [{ name: FOREIGN_BUCKETS, definition: `${BUCKET}; ${FIXED}`, elements: foreign }]
      : []),
  ];
}

const DAY_MS = 86_400_000;

/** As nft reads a time: of each unit, eight digits at most. */
function time(ms: number): string {
  const days = Math.floor(ms / DAY_MS);
  return `${days === 0 ? '' : `${days}d`}${Math.floor(ms % DAY_MS)}ms`;
}

/** The sets, as lines of the table's transaction. */
export const ownedSets = (options: ResolvedOptions, table: string): string[] =>
  [...setsOf(options, [], 0), { name: IN_TIME, definition: `type mark; ${TIMED}` }].map(
    ({ name, definition }) => `add set ${table} ${name} { ${definition}; }`,
  );

/** A timeout of less than a jiffy, of which there may be but 100 a second, is none to kernels without a fix of Linux 6.12. */
const SHORTEST_MS = 10;

/** Lines of a transaction that make the sets what is owned; the timeouts end before the ownership does. */
export const ownedLines = (
  options: ResolvedOptions,
  table: string,
  owned: readonly number[],
  timeout: number,
): string[] =>
  setsOf(options, timeout < SHORTEST_MS ? [] : owned, timeout).flatMap(({ name, elements }) => [
    `flush set ${table} ${name}`,
    ...(elements.length === 0 ? [] : [`add element ${table} ${name} { ${elements.join(', ')} }`]),
  ]);

/**
 * What the elements' timeouts are short of the ownership, in milliseconds: the kernel counts them from
 * when it takes the transaction, at most as much after they were calculated.
 */
export const marginOf = (remaining: number): number => Math.min(MARGIN_MS, remaining / 4);

const MARGIN_MS = 100;

/** The sets of one setup, and of no other that has come in its place. */
export interface OwnSets {
  options: ResolvedOptions;
  table: string;
  /** Chains of the table, one of which is there as long as the setup is. */
  markers: readonly string[];
}

/**
 * Makes the sets what is owned, in one transaction; again, where that did not come within the margin.
 * @param before what was owned, and is again where that fails; where that fails, too, the sets are emptied
 * @throws NfqClusterError what `runOrThrow` throws; then no set holds what `owning` has and `before` has not,
 *   unless nft cannot even empty them
 */
export async function setOwned(
  sets: OwnSets,
  owning: Owning,
  before: Owning = NOTHING,
): Promise<void> {
  try {
    await write(sets, owning);
  } catch (error) {
    // nft may fail behind its transaction.
    await write(sets, before)
      .catch(() => write(sets, NOTHING))
      .catch(() => undefined);
    throw error;
  }
}

async function write(sets: OwnSets, owning: Owning): Promise<void> {
  const { options, table } = sets;
  for (let margin = marginOf(owning.remaining()); ; margin *= 2) {
    const remaining = owning.remaining();
    if (remaining === Infinity)
      return transact(sets, ownedLines(options, table, owning.owned, Infinity));
    if (Math.min(margin, remaining - margin) < SHORTEST_MS)
      return transact(sets, ownedLines(options, table, [], 0));
    await transact(sets, [
      `flush set ${table} ${IN_TIME}`,
      `add element ${table} ${IN_TIME} { 1 timeout ${time(margin)} }`,
    ]);
    try {
      return await transact(sets, [
        `delete element ${table} ${IN_TIME} { 1 }`,
        ...ownedLines(options, table, owning.owned, owning.remaining() - margin),
      ]);
    } catch (error) {
      const late = remaining - owning.remaining() > margin;
      if (!late || !isMissing(error, IN_TIME)) throw error;
    }
  }
}

/** Whether nft says of a transaction that something is not there. */
const isMissing = (error: unknown, name: string): boolean =>
  error instanceof NfqClusterError &&
  error.message.includes('No such file or directory') &&
  error.message.includes(name);

/**
 * Where the setup is there, by whichever marker it has: to empty a chain without rules changes nothing, and fails where
 * there is none.
 */
async function transact(
  { options: { netns }, table, markers }: OwnSets,
  lines: readonly string[],
): Promise<void> {
  let missing: unknown;
  for (const marker of markers) {
    const input = [`flush chain ${table} ${marker}`, ...lines, ''].join('\n');
    try {
      await runOrThrow('change what is owned', 'nft', ['-f', '-'], { input, netns });
      return;
    } catch (error) {
      if (!isMissing(error, table) || isMissing(error, IN_TIME)) throw error;
      missing = error;
    }
  }
  throw new NfqClusterError('ERR_RULES', 'The rules whose sets hold what is owned are gone', {
    expected: `the setup that this engine decides by, in the table ${table}`,
    found: 'none, or another in its place',
    remedy: 'Apply it again with the same options, or close the engine',
    cause: missing,
  });
}
