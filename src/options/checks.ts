import { z } from 'zod';
import { lowered } from './marks.js';
import type { HashMode } from './types.js';

export const U32 = 0xffff_ffff;

export const HASH_MODES: readonly HashMode[] = [
  'sourceip',
  'sourceip-sourceport',
  'sourceip-sourceport-destport',
];

/* A failed check's message is the noun phrase that stands behind "Expected". */
export const check = <T>(expected: string, holds: (value: unknown) => boolean) =>
  z.custom<T>(holds, { error: expected });

export const isInteger = (value: unknown, low: number, high: number): value is number =>
  Number.isInteger(value) && (value as number) >= low && (value as number) <= high;

export const integer = (low: number, high: number) =>
  check<number>(`an integer from ${low} to ${high}`, (value) => isInteger(value, low, high));

export const integerOrAuto = (low: number, high: number) =>
  check<number | 'auto'>(
    `"auto" or an integer from ${low} to ${high}`,
    (value) => value === 'auto' || isInteger(value, low, high),
  );

export const u32 = check<number>('an integer from 0 to 0xffffffff', (value) =>
  isInteger(value, 0, U32),
);

export const oneOf = <T extends string>(...names: readonly T[]) =>
  check<T>(`one of ${names.map((name) => `"${name}"`).join(', ')}`, (value) =>
    (names as readonly unknown[]).includes(value),
  );

export const distinct = <T extends string>(...names: readonly T[]) =>
  check<readonly T[]>(
    `a list of ${names.map((name) => `"${name}"`).join(' and ')}, each at most once`,
    (value) =>
      Array.isArray(value) &&
      value.length <= names.length &&
      [...(value as unknown[])].every((entry) => (names as readonly unknown[]).includes(entry)) &&
      new Set(value).size === value.length,
  );

export const oneBit = check<number>(
  'a single bit, such as 0x40000000',
  (value) => isInteger(value, 1, U32) && Number.isInteger(Math.log2(value)),
);

export const adjacentBits = check<number>('adjacent bits, such as 0x03ff0000', (value) => {
  if (!isInteger(value, 1, U32)) return false;
  return Number.isInteger(Math.log2(lowered(value) + 1));
});

export const matching = (expected: string, pattern: RegExp) =>
  check<string>(expected, (value) => typeof value === 'string' && pattern.test(value));

export const integers = (low: number, high: number, atLeast: number) =>
  check<readonly number[]>(
    `${atLeast > 0 ? 'a non-empty list' : 'a list'} of different integers from ${low} to ${high}`,
    (value) =>
      Array.isArray(value) &&
      value.length >= atLeast &&
      value.length <= high - low + 1 &&
      /* A spread, since every() passes over the holes of a sparse list. */
      [...(value as unknown[])].every((entry) => isInteger(entry, low, high)) &&
      new Set(value).size === value.length,
  );

export const interfaceName = matching(
  'an interface name: 1 to 15 characters without "/", quotes, white space or control characters',
  /^(?!\.{1,2}$)[^/\s"'\p{Cc}]{1,15}$/u,
);

export const maskedMark = z.strictObject(
  { value: u32, mask: u32 },
  'an object with value and mask',
);

export const setupName = matching(
  '1 to 16 characters of a-z, 0-9, "-" and "_" that do not begin with "-"',
  /^[a-z0-9_][a-z0-9_-]{0,15}$/,
);

export const namespace = matching(
  'a name under /run/netns, or an absolute path',
  /^(\/\P{Cc}+|[^/\s\p{Cc}]+)$/u,
);
