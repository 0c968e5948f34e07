import { InvalidArgumentError } from 'commander';
import { range } from '../options/buckets.js';
import { spelledNumber } from '../numbers.js';
import type { InterfaceOptions, MaskedMark } from '../options/types.js';

/*
 * What may stand behind a flag. Only the spelling is checked here; what a number may be in its place is
 * checked with all other options.
 */

/** 32 bits, in the spellings that iptables takes: 10, 0xa, 012. */
export function u32(text: string): number {
  const value = spelledNumber(text);
  if (value <= 0xffff_ffff) return value;
  throw new InvalidArgumentError(
    'Expected a number from 0 to 0xffffffff: decimal, hexadecimal with 0x, or octal with 0.',
  );
}

export const u32OrAuto = (text: string): number | 'auto' => (text === 'auto' ? text : u32(text));

/** `3`, `0-3`, or `0-3,7`: the numbers, in the order written. */
export function numberList(text: string): number[] {
  return text.split(',').flatMap((part) => numberRange(part));
}

/** `3`, or `0-3`. */
export function numberRange(text: string): number[] {
  const [low, high = low, ...more] = text.split('-').map(u32);
  const length = high! - low! + 1;
  if (more.length === 0 && length >= 1 && length <= 65_536) return range(length, low);
  throw new InvalidArgumentError('Expected a number, or a range FIRST-LAST.');
}

/** `2`, or `1,2` for several nodes. */
export function nodes(text: string): number | number[] {
  const all = text.split(',').map(u32);
  return all.length === 1 ? all[0]! : all;
}

/** `eth1`, or `eth1:destination`; no interface's name can have a colon. Added to those before. */
export function interfaceKey(
  text: string,
  before: InterfaceOptions[] | undefined,
): InterfaceOptions[] {
  if (text.startsWith('--'))
    throw new InvalidArgumentError(
      'Expected NAME, but the next flag follows: was the name forgotten?',
    );
  const [name, key, ...more] = text.split(':');
  if (more.length > 0 || (key !== undefined && key !== 'source' && key !== 'destination')) {
    throw new InvalidArgumentError('Expected NAME, NAME:source or NAME:destination.');
  }
  return [...(before ?? []), key === undefined ? { name: name! } : { name: name!, key }];
}

/** What is said of one interface. */
export interface Assignment {
  /** The interface's name. */
  on: string;
  value: string;
}

/** `eth1=192.0.2.10/24`. Added to those before. */
export function assignment(text: string, before: Assignment[] | undefined): Assignment[] {
  const equals = text.indexOf('=');
  if (equals < 1 || equals === text.length - 1) {
    throw new InvalidArgumentError('Expected INTERFACE=VALUE, such as eth1=192.0.2.10/24.');
  }
  const [on, value] = [text.slice(0, equals), text.slice(equals + 1)];
  return [...(before ?? []), { on, value }];
}

/** `flows,sources`; which words there are, the options' own check knows. */
export const words = <T extends string>(text: string): T[] => text.split(',') as T[];

/** `VALUE/MASK`; without a mask, the bits of the value alone. */
export function maskedMark(text: string): MaskedMark {
  const [value, mask = value, ...more] = text.split('/').map(u32);
  if (more.length === 0) return { value: value!, mask: mask! };
  throw new InvalidArgumentError('Expected VALUE or VALUE/MASK.');
}

/** A time in milliseconds. */
export function milliseconds(text: string): number {
  const number = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
  if (number > 0) return number;
  throw new InvalidArgumentError('Expected a positive number of milliseconds.');
}
