/* NativeHasher given what src/ would never give it: a TypeError, and never a crash. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { native } from '../../src/native.js';
import { NOTHING, call, loose, nativeEngine } from './lab.js';

const { Hasher } = loose;
const HASHING = { policy: 'jhash', hashMode: 'sourceip', hashSeed: 0, buckets: 2 };

/** An array whose memory was given away. */
function detached<T extends Uint8Array | Uint16Array | Uint32Array>(array: T): T {
  structuredClone(array.buffer, { transfer: [array.buffer as ArrayBuffer] });
  return array;
}

describe('NativeHasher', () => {
  const hasher = new Hasher(HASHING);

  test('is a class', () => {
    assert.throws(() => Hasher(HASHING), TypeError);
  });

  test('needs options', () => {
    for (const value of NOTHING) assert.throws(() => new Hasher(value), TypeError, String(value));
    assert.throws(() => new Hasher(), TypeError);
    for (const name of Object.keys(HASHING)) {
      for (const value of [undefined, null, {}, Symbol('x'), 10n]) {
        assert.throws(() => new Hasher({ ...HASHING, [name]: value }), TypeError, name);
      }
    }
    for (const buckets of [0, 1024, 0xffff_ffff]) {
      assert.throws(() => new Hasher({ ...HASHING, buckets }), TypeError);
    }
  });

  test('passes on what a getter throws', () => {
    const thrown = new RangeError('mine');
    const options = {
      ...HASHING,
      get hashSeed() {
        throw thrown;
      },
    };
    assert.throws(
      () => new Hasher(options),
      (error) => error === thrown,
    );
  });

  test('finds no address in anything else', () => {
    const none = [
      ...NOTHING.filter((value) => value !== 1),
      '10.0.0.1\0',
      new Uint8Array(5),
      detached(new Uint8Array(4)),
      {},
      [],
    ];
    for (const value of none) {
      assert.equal(call(hasher, 'hash', value), -1);
      assert.equal(call(hasher, 'bucket', value), -1);
      assert.deepEqual(call(hasher, 'words', value), []);
    }
    assert.equal(call(hasher, 'hash'), -1);
  });

  test('takes no other arrays than those of its types', () => {
    const out = new Uint16Array(4);
    for (const value of [
      ...NOTHING,
      [],
      {},
      new ArrayBuffer(16),
      new DataView(new ArrayBuffer(16)),
      new Float64Array(2),
    ]) {
      for (const method of ['bucketsIpv4', 'bucketsIpv6']) {
        assert.throws(() => call(hasher, method, value, out), TypeError);
        assert.throws(() => call(hasher, method, new Uint32Array(1), value), TypeError);
        assert.throws(() => call(hasher, method, new Uint8Array(16), value), TypeError);
      }
    }
    assert.throws(() => call(hasher, 'bucketsIpv4'), TypeError);
    assert.throws(() => call(hasher, 'bucketsIpv4', new Uint32Array(1)), TypeError);
  });

  test('counts no range but of numbers', () => {
    for (const value of [undefined, null, true, '1', {}, 1n]) {
      assert.throws(() => call(hasher, 'countIpv4', value, 1), TypeError);
      assert.throws(() => call(hasher, 'countIpv4', 1, value), TypeError);
    }
  });

  test('does not write past the end', () => {
    assert.throws(() => hasher.bucketsIpv4(new Uint32Array(5), new Uint16Array(4)), TypeError);
    assert.throws(() => hasher.bucketsIpv6(new Uint8Array(80), new Uint16Array(4)), TypeError);
    assert.throws(
      () => hasher.bucketsIpv4(new Uint32Array(1), detached(new Uint16Array(1))),
      TypeError,
    );
    assert.equal(hasher.bucketsIpv4(detached(new Uint32Array(4)), new Uint16Array(4)).length, 4);
  });

  test('counts no other addresses than there are', () => {
    const wrong = [
      [],
      [0],
      [0, '1'],
      ['0', 1],
      [0, -1],
      [0, NaN],
      [0, 2 ** 32 + 1],
      [5, 2 ** 32 - 4],
    ];
    for (const args of wrong) assert.throws(() => call(hasher, 'countIpv4', ...args), TypeError);
    assert.deepEqual([...hasher.countIpv4(0xffff_ffff, 0)], [0, 0]);
    assert.equal(
      hasher.countIpv4(0xffff_fffe, 2).reduce((sum, count) => sum + count),
      2,
    );
  });

  test('reads and writes shared memory', () => {
    const addresses = new Uint32Array(new SharedArrayBuffer(8)).fill(0x0a000001);
    const out = new Uint16Array(new SharedArrayBuffer(4)).fill(9);
    hasher.bucketsIpv4(addresses, out);
    assert.deepEqual([...out], [hasher.bucket(0x0a000001), hasher.bucket(0x0a000001)]);
  });

  test('is not fooled about `this`', () => {
    const hash = loose.method(native.NativeHasher, 'hash');
    const impostors = [
      undefined,
      null,
      {},
      Object.create(hasher) as object,
      new Proxy(hasher, {}),
      nativeEngine(),
    ];
    for (const impostor of impostors) {
      assert.throws(() => hash.call(impostor, 1), TypeError);
    }
  });
});
