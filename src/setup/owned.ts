import { inverted } from '../options/buckets.js';
import { NfqClusterError } from '../errors.js';
import { MAX_BUCKETS } from '../options/limits.js';
import { lowestBit } from '../options/marks.js';
import type { ResolvedOptions } from '../options/types.js';
import { elsewhere } from './destinations.js';
import { runOrThrow } from './exec.js';
import { hex } from './words.js';

/*
 * What is owned, as sets of nft: a change of ownership is one transaction on them, and elements end with the
 * ownership. Lookups are faster in a set of fixed size, but that cannot have timeouts.
 */

/** What is owned, and the milliseconds until that ends: Infinity if never, 0 if it is over. */
export interface Owning {
  owned: readonly number[];
  remaining: () => number;
}

export const NOTHING: Owning = { owned: [], remaining: () => Infinity };

/** The set of what the connmarks of owned connections hold in `marks.bucket`, if the ownership has no end. */
export const OWNED_MARKS = 'owned-marks';
/** The same for an ownership that ends. */
export const ENDING_MARKS = 'ending-marks';
/** The set of the owned buckets' numbers, to which addresses are hashed. */
export const OWNED_BUCKETS = 'owned-buckets';
/** The set of all other buckets. Those of an ownership that has ended need not be added: what is in no set is foreign. */
export const FOREIGN_BUCKETS = 'foreign-buckets';

/**
 * Whether foreign packets of new connections are dropped upon their hash: not if some are nobody's to drop, nor if
 * foreign packets pass, since their connections then need a bucket.
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
 * The set whose one element expires when a transaction would come too late. The transaction deletes it, so that the
 * kernel refuses a transaction that is late, whatever held it up: nft, or this process.
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

/** Kernels without a fix of Linux 6.12 take a timeout shorter than a jiffy, which may be 10 ms, for no timeout. */
const SHORTEST_MS = 10;

/** Lines of a transaction that set the sets to what is owned; the timeouts end before the ownership does. */
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
 * The milliseconds by which the elements' timeouts are shorter than the ownership: the kernel counts them from
 * when it takes the transaction, which must be no later than that after they were calculated.
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
 * Sets the sets to what is owned, in one transaction, which is repeated if it did not come within the margin.
 * @param before what was owned, to be put back if that fails; if that fails as well, the sets are emptied
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
    // nft may fail after its transaction has taken effect.
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
 * Only if the setup is there, whichever of its markers it has: flushing such a chain, which has no rules, changes
 * nothing, but fails if there is none.
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
