/* Every option by itself: what it takes, what it refuses and how, and its default. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Options } from '../../src/options/types.js';
import { resolveOptions } from '../../src/options/resolve.js';
import { refuses } from './expectations.js';

const U32 = 0xffff_ffff;
const VALID: Options = { interfaces: ['eth0'], hashSeed: 1, totalNodes: 2, localNode: 1 };

/** What is wrong everywhere: other types, and things that only look like a number. */
const NO_NUMBERS = ['1', 1.5, NaN, Infinity, -Infinity, 1n, true, null, {}, [1], new Date(0)];
const NO_TEXTS = [1, true, null, {}, ['x'], Symbol('x'), () => 'x'];

interface Field {
  /** Where it lies among the options: `marks.owned.value`. */
  name: string;
  expected: string;
  good: readonly unknown[];
  bad: readonly unknown[];
  /** Other options that are needed, or stand in the way. */
  with?: Record<string, unknown>;
}

const integer = (low: number, high: number | string): string => `an integer from ${low} to ${high}`;
const BITS = 'a single bit, such as 0x40000000';
const MARK = { value: 1, mask: 1 };

const FIELDS: readonly Field[] = [
  {
    name: 'queues',
    expected: 'a non-empty list of different integers from 0 to 65535',
    good: [[0], [65_535], [3, 4, 5], [5, 3, 4], undefined],
    bad: [
      [],
      [-1],
      [65_536],
      [1, 1],
      ['1'],
      [1.5],
      [NaN],
      0,
      '0',
      null,
      new Uint16Array([1]),
      Array(1),
    ],
  },
  {
    name: 'queueCpuFanout',
    expected: 'true or false',
    good: [true, false, undefined],
    bad: [0, 1, 'true', null, {}],
    with: { queues: [0, 1], rules: 'auto' },
  },
  {
    name: 'hashSeed',
    expected: integer(0, '0xffffffff'),
    good: [0, 1, 0xdeadbeef, U32],
    bad: [-1, U32 + 1, '0xdeadbeef', ...NO_NUMBERS],
  },
  {
    name: 'policy',
    expected: 'one of "jhash", "xt_cluster", "clusterip"',
    good: ['jhash', 'xt_cluster', 'clusterip', undefined],
    bad: ['JHASH', '', 'CLUSTERIP', ...NO_TEXTS],
  },
  {
    name: 'hashMode',
    expected: 'one of "sourceip", "sourceip-sourceport", "sourceip-sourceport-destport"',
    good: ['sourceip', 'sourceip-sourceport', 'sourceip-sourceport-destport', undefined],
    bad: ['sourceport', '', ...NO_TEXTS],
    with: { policy: 'clusterip' },
  },
  {
    name: 'strict',
    expected: 'true or false',
    good: [true, false, undefined],
    bad: [0, 1, 'true', null, {}],
    with: { policy: 'clusterip' },
  },
  {
    name: 'totalNodes',
    expected: integer(1, 32),
    good: [1, 2, 32],
    bad: [0, 33, -1, ...NO_NUMBERS],
  },
  {
    name: 'buckets',
    expected: integer(1, 1023),
    good: [1, 2, 1023],
    bad: [0, 1024, -1, ...NO_NUMBERS],
    with: { totalNodes: undefined, localNode: undefined, ownership: { buckets: [0] } },
  },
  {
    name: 'localNode',
    expected: 'a node number from 1 to 32, or a list of different ones',
    good: [1, 32, [1], [32, 1]],
    bad: [0, 33, [], [0], [1, 1], [33], ['1'], '1', 1.5, null, true, {}],
    with: { totalNodes: 32 },
  },
  {
    name: 'localNodemask',
    expected: integer(1, U32),
    good: [1, 0x8000_0000, U32],
    bad: [0, -1, U32 + 1, '0x1', ...NO_NUMBERS],
    with: { totalNodes: 32, localNode: undefined },
  },
  {
    name: 'invert',
    expected: 'true or false',
    good: [true, false, undefined],
    bad: [0, 1, 'true', null, {}],
  },
  {
    name: 'action',
    expected: 'one of "drop", "mark"',
    good: ['drop', 'mark', undefined],
    bad: ['DROP', 'accept', '', ...NO_TEXTS],
  },
  {
    name: 'reinject',
    expected: 'one of "accept", "repeat"',
    good: ['accept', 'repeat', undefined],
    bad: ['drop', '', ...NO_TEXTS],
  },
  {
    name: 'helpers',
    expected: 'true or false',
    good: [true, false, undefined],
    bad: ['false', 0, null],
  },
  {
    name: 'rules',
    expected: 'one of "none", "auto", "nft", "nft-compat", "xtables"',
    good: ['none', 'auto', 'nft', 'nft-compat', 'xtables', undefined],
    bad: ['iptables', '', false, ...NO_TEXTS],
  },
  {
    name: 'name',
    expected: '1 to 16 characters of a-z, 0-9, "-" and "_" that do not begin with "-"',
    good: ['a', 'web-1_x', '0123456789abcdef', undefined],
    bad: ['', '-a', 'A', 'a b', 'a/b', '0123456789abcdefg', 'a\n', 'é', ...NO_TEXTS],
  },
  {
    name: 'queueLength',
    expected: integer(1, U32),
    good: [1, 1024, U32, undefined],
    bad: [0, -1, U32 + 1, ...NO_NUMBERS],
  },
  {
    name: 'receiveBuffer',
    expected: integer(4096, 0x3fff_ffff),
    good: [4096, 1 << 20, 0x3fff_ffff, undefined],
    bad: [0, 4095, 0x4000_0000, ...NO_NUMBERS],
  },
  {
    name: 'gather',
    expected: integer(0, 10_000),
    good: [0, 50, 10_000, undefined],
    bad: [-1, 0.5, 10_001, ...NO_NUMBERS],
  },
  {
    name: 'busyPoll',
    expected: integer(0, 10_000),
    good: [0, 50, 10_000, undefined],
    bad: [-1, 0.5, 10_001, ...NO_NUMBERS],
  },
  {
    name: 'realtime',
    expected: '"auto" or an integer from 0 to 99',
    good: ['auto', 0, 1, 99, undefined],
    bad: [-1, 0.5, 100, 'none', ...NO_NUMBERS],
  },
  {
    name: 'netns',
    expected: 'a name under /run/netns, or an absolute path',
    good: ['blue', '/proc/1/ns/net', '/a b', undefined],
    bad: ['', '/', 'a/b', 'a b', './a', '/a\0b', 'a\0b', '/a\nb', ...NO_TEXTS],
  },
  {
    name: 'control',
    expected: '"none", "auto" or an absolute path of at most 80 bytes',
    good: ['none', 'auto', '/a', `/${'x'.repeat(79)}`],
    bad: ['', '/', 'e.sock', '/run/', '/a\0b', `/${'x'.repeat(80)}`, `/${'ü'.repeat(40)}`, true, 1],
  },
  {
    name: 'marks',
    expected: 'an object with owned, multicast, decided, direct or bucket',
    good: [{}, undefined],
    bad: [0xffff, '0x1', null, [], true],
  },
  {
    name: 'marks.owned',
    expected: 'an object with value and mask',
    good: [MARK, { value: 2, mask: 6 }, undefined],
    bad: [1, '1/1', null, [1, 1]],
  },
  {
    name: 'marks.owned.value',
    expected: integer(0, '0xffffffff'),
    good: [1, 3],
    bad: [-1, U32 + 1, ...NO_NUMBERS],
    with: { 'marks.owned.mask': 3 },
  },
  {
    name: 'marks.owned.mask',
    expected: integer(0, '0xffffffff'),
    good: [1, 0x00ff_ffff],
    bad: [-1, U32 + 1, ...NO_NUMBERS],
    with: { 'marks.owned.value': 1 },
  },
  {
    name: 'marks.multicast',
    expected: BITS,
    good: [0x10000, 0x2000_0000, undefined],
    bad: [0, 3, -1, U32 + 1, 0x1_0000_0000, ...NO_NUMBERS],
  },
  {
    name: 'marks.decided',
    expected: BITS,
    good: [0x10000, 0x8000_0000, undefined],
    bad: [0, 3, -1, U32, ...NO_NUMBERS],
  },
];

/** `set({}, 'marks.owned.value', 1)` is `{ marks: { owned: { value: 1 } } }`. */
function set(
  options: Record<string, unknown>,
  name: string,
  value: unknown,
): Record<string, unknown> {
  const [first, ...rest] = name.split('.') as [string, ...string[]];
  const below = (options[first] ?? {}) as Record<string, unknown>;
  return { ...options, [first]: rest.length === 0 ? value : set(below, rest.join('.'), value) };
}

/** Valid options but for one. */
function withField(field: Field, value: unknown): unknown {
  const others = Object.entries(field.with ?? {});
  const base = others.reduce(
    (all, [name, other]) => set(all, name, other),
    VALID as unknown as Record<string, unknown>,
  );
  return set(base, field.name, value);
}

describe('each option', () => {
  for (const field of FIELDS) {
    test(`${field.name}: ${field.expected}`, () => {
      for (const value of field.good) assert.ok(resolveOptions(withField(field, value)));
      for (const value of field.bad) {
        const { name, expected } = field;
        refuses(() => resolveOptions(withField(field, value)), { name, expected, value });
      }
    });
  }
});
