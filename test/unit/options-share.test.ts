/* Options that depend on each other: what is owned, and which bits are ours. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { resolveOptions } from '../../src/options/resolve.js';
import { resolveOwnership } from '../../src/options/ownership.js';
import { refuses } from './expectations.js';

const resolve = (options: object) => () =>
  resolveOptions({ interfaces: ['eth0'], hashSeed: 1, ...options });

describe('what is owned at the start', () => {
  const cases: readonly [string, object, number[]][] = [
    ['node 1 of 1', { totalNodes: 1, localNode: 1 }, [0]],
    ['node 3 of 3', { totalNodes: 3, localNode: 3 }, [2]],
    ['several nodes, in order', { totalNodes: 5, localNode: [4, 1] }, [0, 3]],
    ['a mask', { totalNodes: 4, localNodemask: 0b1010 }, [1, 3]],
    ['the highest bit of a mask', { totalNodes: 32, localNodemask: 0x8000_0000 }, [31]],
    ['the full mask', { totalNodes: 3, localNodemask: 7 }, [0, 1, 2]],
    ['not node 2 of 3', { totalNodes: 3, localNode: 2, invert: true }, [0, 2]],
    ['not the only node', { totalNodes: 1, localNode: 1, invert: true }, []],
    ['not what a mask says', { totalNodes: 4, localNodemask: 0b1010, invert: true }, [0, 2]],
    ['nodes by ownership', { totalNodes: 3, ownership: { nodes: [3, 1] } }, [0, 2]],
    ['buckets by ownership', { totalNodes: 3, ownership: { buckets: [2] } }, [2]],
    ['fine-grained', { buckets: 1023, ownership: { buckets: [1022, 7] } }, [7, 1022]],
    ['nothing', { buckets: 5, ownership: { buckets: [] } }, []],
    ['no node', { totalNodes: 5, ownership: { nodes: [] } }, []],
    [
      'ownership without inversion',
      { buckets: 2, ownership: { buckets: [0] }, invert: false },
      [0],
    ],
  ];
  for (const [name, options, owned] of cases) {
    test(name, () => assert.deepEqual(resolve(options)().owned, owned));
  }

  test('classic or fine-grained', () => {
    const fine = resolve({ buckets: 7, ownership: { buckets: [0] } })();
    assert.deepEqual([fine.buckets, fine.classic], [7, false]);
    const classic = resolve({ totalNodes: 7, localNode: 1 })();
    assert.deepEqual([classic.buckets, classic.classic], [7, true]);
  });

  test('for how long', () => {
    const validFor = (ownership: object) => resolve({ buckets: 2, ownership })().validFor;
    assert.equal(validFor({ buckets: [0] }), Infinity);
    assert.equal(validFor({ buckets: [0], validFor: Infinity }), Infinity);
    assert.equal(validFor({ buckets: [0], validFor: 0.5 }), 0.5);
    assert.equal(resolve({ totalNodes: 2, localNode: 1 })().validFor, Infinity);
  });
});

describe('options that do not go together', () => {
  const either = 'either totalNodes or buckets';
  const one = 'exactly one of localNode, localNodemask and ownership';
  const fine = 'ownership, without localNode and localNodemask, where buckets is given';

  test('neither or both of totalNodes and buckets', () => {
    for (const sizes of [{}, { totalNodes: 2, buckets: 2 }]) {
      const call = resolve({ ...sizes, localNode: 1 });
      refuses(call, { name: 'totalNodes', expected: either, value: sizes });
    }
  });

  test('none or several of localNode, localNodemask and ownership', () => {
    const ownership = { nodes: [1] };
    for (const ways of [
      {},
      { localNode: 1, localNodemask: 1 },
      { localNode: 1, ownership },
      { localNodemask: 1, ownership },
    ]) {
      const call = resolve({ totalNodes: 2, ...ways });
      refuses(call, { name: 'localNode', expected: one, value: ways });
    }
  });

  test('buckets without ownership, or with a node', () => {
    for (const ways of [
      {},
      { localNode: 1 },
      { localNodemask: 1 },
      { localNode: 1, ownership: { buckets: [0] } },
    ]) {
      const call = resolve({ buckets: 2, ...ways });
      refuses(call, { name: 'ownership', expected: fine, value: ways });
    }
  });

  test('a node or a mask beyond the total', () => {
    for (const localNode of [3, [1, 3]]) {
      const call = resolve({ totalNodes: 2, localNode });
      refuses(call, { name: 'localNode', expected: 'at most 2 (totalNodes)', value: localNode });
    }
    for (const totalNodes of [1, 2, 31]) {
      const call = resolve({ totalNodes, localNodemask: 2 ** totalNodes });
      const expected = `a mask below 2^${totalNodes} (totalNodes)`;
      refuses(call, { name: 'localNodemask', expected, value: 2 ** totalNodes });
    }
  });

  test('inversion of an ownership', () => {
    const call = resolve({ totalNodes: 2, ownership: { nodes: [1] }, invert: true });
    const remedy = 'With ownership, name what is owned directly.';
    refuses(call, { name: 'invert', expected: 'nothing', value: true, remedy });
  });

  test('queues that are not consecutive', () => {
    const remedy = 'One rule spreads packets over a range of queues.';
    for (const value of [
      [0, 2],
      [3, 1],
    ]) {
      const call = resolve({ totalNodes: 2, localNode: 1, queues: value });
      refuses(call, { name: 'queues', expected: 'consecutive numbers', value, remedy });
    }
  });
});

describe('marks', () => {
  const marked = (marks: object) => resolve({ totalNodes: 2, localNode: 1, marks });

  test('each keeps its default where another is given', () => {
    assert.deepEqual(marked({ owned: { value: 0x10, mask: 0xf0 } })().marks, {
      owned: { value: 0x10, mask: 0xf0 },
      multicast: 0x4000_0000,
      decided: 0x8000_0000,
      direct: 0,
      bucket: 0,
    });
    assert.equal(marked({ multicast: 0x10000 })().marks.multicast, 0x10000);
    assert.equal(marked({ decided: 0x10000 })().marks.decided, 0x10000);
  });

  test('an owned value that marks nothing, or lies outside of its mask', () => {
    const expected = 'a value that is not 0 and lies within the mask';
    const wrong = [
      { value: 0, mask: 0 },
      { value: 0, mask: 1 },
      { value: 2, mask: 1 },
      { value: 0xffff_ffff, mask: 0x7fff_ffff },
    ];
    for (const owned of wrong) {
      refuses(marked({ owned }), { name: 'marks.owned', expected, value: owned });
    }
  });

  test('bits used twice', () => {
    const overlapping = [
      { multicast: 0x1 },
      { decided: 0x8000 },
      { decided: 0x4000_0000 },
      { multicast: 0x8000_0000 },
      { multicast: 0x10000, decided: 0x10000 },
      { owned: { value: 1, mask: 0xffff_ffff } },
    ];
    for (const marks of overlapping) {
      refuses(marked(marks), { name: 'marks', expected: 'bits that do not overlap', value: marks });
    }
  });
});

describe('a change of ownership', () => {
  const changed =
    (input: unknown, { buckets = 4, classic = true } = {}) =>
    () =>
      resolveOwnership(input, buckets, classic);

  test('by nodes or by buckets', () => {
    assert.deepEqual(changed({ nodes: [4, 1] })(), { owned: [0, 3], validFor: Infinity });
    assert.deepEqual(changed({ buckets: [3, 0], validFor: 250 })(), {
      owned: [0, 3],
      validFor: 250,
    });
    assert.deepEqual(changed({ buckets: [] })(), { owned: [], validFor: Infinity });
    assert.deepEqual(changed({ nodes: [], validFor: 1 })(), { owned: [], validFor: 1 });
    for (const [given, validFor] of [
      [3.1e12, 3.1e12],
      [3.2e12, Infinity],
      [Number.MAX_VALUE, Infinity],
    ])
      assert.equal(changed({ nodes: [], validFor: given })().validFor, validFor);
  });

  test('neither or both', () => {
    const expected = 'either buckets or nodes';
    for (const value of [{}, { validFor: 1 }, { buckets: [0], nodes: [1] }]) {
      refuses(changed(value), { name: 'ownership', expected, value });
    }
    for (const value of [undefined, null, [0], 'all', 1]) {
      refuses(changed(value), {
        name: 'ownership',
        expected: 'an object with buckets or nodes',
        value,
      });
    }
  });

  test('what is not there to be owned', () => {
    refuses(changed({ nodes: [5] }), {
      name: 'ownership.nodes',
      expected: 'nodes from 1 to 4 (totalNodes)',
      value: [5],
    });
    refuses(changed({ buckets: [4] }), {
      name: 'ownership.buckets',
      expected: 'buckets from 0 to 3',
      value: [4],
    });
    const remedy = 'With the option buckets, name what is owned by ownership.buckets.';
    refuses(changed({ nodes: [1] }, { classic: false }), {
      name: 'ownership.nodes',
      expected: 'nothing',
      value: [1],
      remedy,
    });
  });

  test('lists of anything but different numbers', () => {
    for (const value of [[-1], [1023], [1, 1], ['1'], [1.5], 1, new Set([1]), null, Array(1)]) {
      const expected = 'a list of different integers from 0 to 1022';
      refuses(changed({ buckets: value }), { name: 'buckets', expected, value });
    }
    for (const value of [[0], [33], [1, 1], ['1'], 1]) {
      const expected = 'a list of different integers from 1 to 32';
      refuses(changed({ nodes: value }), { name: 'nodes', expected, value });
    }
  });

  test('times that are none', () => {
    for (const value of [0, -1, NaN, -Infinity, '1', null, 1n]) {
      const expected = 'a positive number of milliseconds, or Infinity';
      refuses(changed({ nodes: [1], validFor: value }), { name: 'validFor', expected, value });
    }
  });
});
