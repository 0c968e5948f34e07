/* What the addon has, however it was built. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as api from '../../src/index.js';
import { native } from '../../src/native.js';

const methods = (type: abstract new (...args: never) => object): string[] =>
  Object.getOwnPropertyNames(type.prototype).sort();

describe('exports', () => {
  test('of the addon', () => {
    assert.deepEqual(Object.keys(native).sort(), [
      'NativeEngine',
      'NativeHasher',
      'findConnection',
      'layout',
      'lockNetns',
      'now',
      'probeQueue',
      'readFiles',
      'renewConnmarks',
      'runProgram',
      'setQueueRule',
      'writeFiles',
    ]);
  });

  test('of its classes', () => {
    const hasher = [
      'bucket',
      'bucketsIpv4',
      'bucketsIpv6',
      'constructor',
      'countIpv4',
      'hash',
      'words',
    ];
    const engine = [
      'close',
      'connections',
      'constructor',
      'counters',
      'hasChain',
      'open',
      'readCounts',
      'ref',
      'remaining',
      'setOwnership',
      'tableHandle',
      'unref',
    ];
    assert.deepEqual(methods(native.NativeHasher), hasher);
    assert.deepEqual(methods(native.NativeEngine), engine);
  });

  test('of the package', () => {
    const values = [
      ...['Control', 'Hasher', 'MAX_BUCKETS', 'MAX_CLUSTERIP_NODES', 'MAX_INTERFACES', 'MAX_NODES'],
      'NfqClusterError',
      ...[
        'apply',
        'doctor',
        'exportRules',
        'findConnection',
        'importRules',
        'ofStatus',
        'open',
        'plan',
        'revert',
        'status',
      ],
    ];
    assert.deepEqual(Object.keys(api).sort(), values);
  });
});

describe('layout', () => {
  const { layout } = native;

  test('names every counter once', () => {
    const slots = Object.values(layout.counters);
    assert.deepEqual(Object.keys(layout.counters), [
      'owned',
      'foreign',
      'unknown',
      'malformed',
      'fixups',
      'verdictErrors',
      'batches',
      'receiveErrors',
      'queueDropped',
      'userDropped',
      'receiveBuffer',
      'flowHits',
      'lookups',
      'lookupHits',
      'expected',
      'lookupTime',
      'expectations',
      'expectationsLost',
      'offloadedOwned',
      'offloadedForeign',
    ]);
    assert.deepEqual(slots, [...slots.keys()]);
  });

  test('has room for everything between one thread and the next', () => {
    const { buckets, batchSizes, latency, stride } = layout;
    assert.deepEqual([buckets.length, batchSizes.length], [1023, 65]);
    assert.equal(latency.length, layout.latencyLowerBounds.length);
    const ends = [buckets, batchSizes, latency].map(({ offset, length }) => offset + length);
    assert.deepEqual([buckets.offset, batchSizes.offset, latency.offset], [20, ends[0], ends[1]]);
    assert.ok(ends[2]! <= stride);
    assert.equal((stride * 8) % 64, 0);
  });

  test('has ascending bounds of latency', () => {
    const bounds = [...layout.latencyLowerBounds];
    assert.equal(bounds[0], 0);
    assert.ok(bounds.every((bound, at) => at === 0 || bound > bounds[at - 1]!));
  });
});
