import { range } from '../options/buckets.js';
import { NfqClusterError, invalidOption } from '../errors.js';
import type { Ownership } from '../engine.js';
import type { OwnershipInput } from '../options/types.js';

/** As text: `+2` or `-2` adds or removes, `1,3-5` and `none` replace. */
const CHANGE = /^([+-]?)(\d{1,4}(?:-\d{1,4})?(?:,\d{1,4}(?:-\d{1,4})?)*)$/;

/** Whether a change adds or removes. */
export const keepsDeadline = (change: unknown): boolean =>
  typeof change === 'string' && /^[+-]/.test(change);

/**
 * The ownership after a change in words: `+2` and `-2` as in CLUSTERIP's membership file, `1,3-5`, or `none`.
 * Numbers are nodes from 1 where the engine has nodes, else buckets from 0. Adding and removing keep the
 * deadline.
 * @param validFor milliseconds, for a change that replaces; Infinity unless given
 * @throws NfqClusterError `ERR_INVALID_OPTION`, `ERR_ALREADY_OWNED`, `ERR_NOT_OWNED`, `ERR_EXPIRED`
 */
export function changed(
  change: unknown,
  before: Ownership,
  { classic, buckets }: { classic: boolean; buckets: number },
  validFor?: number,
): OwnershipInput {
  const first = classic ? 1 : 0;
  const { sign, numbers } = parseChange(change, first, buckets - 1 + first);
  const name = (all: number[]): { nodes: number[] } | { buckets: number[] } =>
    classic ? { nodes: all } : { buckets: all };
  if (sign === '') return { ...name(numbers), ...(validFor === undefined ? {} : { validFor }) };
  if (validFor !== undefined) {
    throw invalidOption('validFor', 'nothing', validFor, 'Adding and removing keep the deadline.');
  }
  if (before.validFor === 0) {
    throw new NfqClusterError('ERR_EXPIRED', 'The ownership has expired', {
      remedy: 'Name everything that is to be owned, such as 1,3',
    });
  }
  const owned = before.buckets.map((bucket) => bucket + first);
  requireState(sign, numbers, owned, classic ? 'Node' : 'Bucket');
  const after =
    sign === '+' ? [...owned, ...numbers] : owned.filter((number) => !numbers.includes(number));
  return { ...name(after), validFor: before.validFor };
}

function parseChange(
  change: unknown,
  low: number,
  high: number,
): { sign: '+' | '-' | ''; numbers: number[] } {
  if (change === 'none') return { sign: '', numbers: [] };
  const [, sign, list] = CHANGE.exec(typeof change === 'string' ? change : '') ?? [];
  const ranges = list?.split(',').map((part) => part.split('-').map(Number)) ?? [];
  if (list === undefined || ranges.some(([from, to = from]) => from! < low || to! > high)) {
    throw invalidOption(
      'change',
      `+N, -N, N,M or none, with numbers from ${low} to ${high}`,
      change,
    );
  }
  const backwards = ranges.some(([from, to = from]) => to! < from!);
  const numbers = ranges.flatMap(([from, to = from]) => range(to! - from! + 1, from));
  if (backwards || new Set(numbers).size < numbers.length) {
    throw invalidOption('change', 'each number once, and ranges FIRST-LAST', change);
  }
  return { sign: sign as '+' | '-' | '', numbers };
}

/** As the original: what is there cannot be added, and what is not there cannot be removed. */
function requireState(
  sign: '+' | '-',
  numbers: readonly number[],
  owned: readonly number[],
  what: 'Node' | 'Bucket',
): void {
  const wrong = numbers.find((number) => owned.includes(number) === (sign === '+'));
  if (wrong === undefined) return;
  throw sign === '+'
    ? new NfqClusterError('ERR_ALREADY_OWNED', `${what} ${wrong} is owned already`)
    : new NfqClusterError('ERR_NOT_OWNED', `${what} ${wrong} is not owned`);
}

/** Ascending numbers as text: `1,3`, and with `ranges` `0-340,512`. Empty for none. */
export function listed(numbers: readonly number[], ranges: boolean): string {
  if (!ranges) return numbers.join(',');
  const runs: [number, number][] = [];
  for (const number of numbers) {
    const last = runs.at(-1);
    if (last?.[1] === number - 1) last[1] = number;
    else runs.push([number, number]);
  }
  return runs.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(',');
}
