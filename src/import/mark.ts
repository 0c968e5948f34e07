import { range } from '../options/buckets.js';
import type { MaskedMark } from '../options/types.js';
import { Refusal } from './notes.js';

/**
 * A mark that rules set, under the mask of the bits that mean something.
 * @throws Refusal where it is none that an engine can set, too
 */
export function carriedMark(name: string, { value, mask }: MaskedMark): MaskedMark {
  // Where the whole mark is set, ours leaves the bits alone that mean nothing to the rules.
  const meant = mask === 0xffff_ffff ? value : mask;
  if (value === 0 || (value & ~meant) !== 0)
    throw new Refusal(`${name}: a mark that is not within its mask, or 0`);
  if (freeBits(meant).length < 2)
    throw new Refusal(`${name}: does not leave two bits to the engine`);
  return { value, mask: meant };
}

/** The highest first. */
export const freeBits = (mask: number): number[] =>
  range(32)
    .map((bit) => 2 ** (31 - bit))
    .filter((bit) => (mask & bit) === 0);
