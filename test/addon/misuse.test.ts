/* The addon given what src/ would never give it: a TypeError or another error, and never a crash. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Namespace } from '../../src/lab/namespaces.js';
import { native, type NativeEngine, type NativeHasher } from '../../src/native.js';
import { boundQueues, nativeConfig, nativeEngine, skip } from './lab.js';

type Any = (...args: unknown[]) => unknown;
const Hasher = native.NativeHasher as unknown as new (...args: unknown[]) => NativeHasher;
const Engine = native.NativeEngine as unknown as new (...args: unknown[]) => NativeEngine;

const NOTHING = [undefined, null, true, 1, 'x', Symbol('x'), 10n] as const;
const HASHING = { policy: 'jhash', hashSeed: 0, buckets: 2 };

/** Calls a method with arguments that its type forbids. */
const call = (object: object, method: string, ...args: unknown[]): unknown =>
  (object as Record<string, Any>)[method]!(...args);

/** An array whose memory was given away. */
function detached<T extends Uint8Array | Uint16Array | Uint32Array>(array: T): T {
  structuredClone(array.buffer, { transfer: [array.buffer as ArrayBuffer] });
  return array;
}

describe('NativeHasher', () => {
  const hasher = new Hasher(HASHING);

  test('is a class', () => {
    assert.throws(() => (native.NativeHasher as unknown as Any)(HASHING), TypeError);
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
    const { hash } = native.NativeHasher.prototype as unknown as Record<string, Any>;
    const impostors = [
      undefined,
      null,
      {},
      Object.create(hasher) as object,
      new Proxy(hasher, {}),
      nativeEngine(),
    ];
    for (const impostor of impostors) {
      assert.throws(() => hash!.call(impostor, 1), TypeError);
    }
  });
});

describe('NativeEngine', () => {
  const config = nativeConfig();
  const made =
    (...args: unknown[]) =>
    () =>
      new Engine(...args);

  test('is a class', () => {
    assert.throws(() => (native.NativeEngine as unknown as Any)(config, [], 1, () => 1), TypeError);
  });

  test('needs all four arguments', () => {
    const good: unknown[] = [config, [0], Infinity, () => undefined];
    assert.doesNotThrow(made(...good));
    for (let count = 0; count < good.length; count += 1) {
      assert.throws(made(...good.slice(0, count)), TypeError, `${count} arguments`);
    }
    const wrong = [
      NOTHING,
      [...NOTHING, {}, [undefined], ['0'], [1023], [-1]],
      [...NOTHING.filter((value) => value !== 1), {}],
      [...NOTHING, {}],
    ];
    wrong.forEach((values, at) => {
      for (const value of values)
        assert.throws(made(...good.with(at, value)), TypeError, `argument ${at}`);
    });
  });

  test('needs every option, of its type', () => {
    const needed = [
      ...['queues', 'interfaces', 'policy', 'hashSeed', 'buckets', 'action', 'marks', 'reinject'],
      ...['queueLength', 'receiveBuffer', 'netns'],
    ];
    for (const name of needed) {
      for (const value of [undefined, null, true, Symbol('x'), 10n]) {
        assert.throws(
          made({ ...config, [name]: value }, [0], 1, () => 1),
          TypeError,
          name,
        );
      }
    }
    for (const value of [1, null, {}, 'lo', { name: 'lo' }, { name: 1, key: 'source' }]) {
      assert.throws(
        made({ ...config, interfaces: [value] }, [0], 1, () => 1),
        TypeError,
      );
    }
    const many = Array.from({ length: 65 }, () => ({ name: 'lo', key: 'source' }));
    assert.throws(
      made({ ...config, interfaces: many }, [0], 1, () => 1),
      TypeError,
    );
  });

  test('is not fooled about `this`', () => {
    const hasher = new Hasher(HASHING);
    for (const method of [
      'open',
      'close',
      'remaining',
      'counters',
      'setOwnership',
      'readDrops',
      'ref',
      'unref',
    ]) {
      const own = (native.NativeEngine.prototype as unknown as Record<string, Any>)[method]!;
      for (const impostor of [undefined, {}, hasher]) {
        assert.throws(() => own.call(impostor), TypeError, method);
      }
    }
  });

  test('before it is open', async () => {
    const engine = nativeEngine();
    assert.equal(engine.remaining(), Infinity);
    assert.equal(engine.counters().byteLength, native.layout.stride * 8);
    assert.equal(engine.counters().byteLength, native.layout.stride * 8);
    engine.readDrops();
    engine.ref();
    engine.unref();
    assert.throws(() => engine.setOwnership([0], 1), /not open/);
    await engine.close(0);
    await Promise.all([
      engine.close(0),
      call(engine, 'close'),
      call(engine, 'close', 'x'),
      call(engine, 'close', -1),
    ]);
  });
});

describe('NativeEngine, open', { skip }, () => {
  test('opens once', async () => {
    await using namespace = await Namespace.create();
    const engine = nativeEngine(namespace.path);
    await engine.open();
    assert.throws(() => engine.open(), /once/);
    assert.deepEqual(await boundQueues(namespace), [0]);
    await engine.setOwnership([1], Infinity);
    await engine.close(0);
    assert.throws(() => engine.open(), /once/);
    assert.deepEqual(await boundQueues(namespace), []);
  });

  test('opens once, even if that fails', async () => {
    const engine = nativeEngine('/nowhere');
    await assert.rejects(engine.open(), { kind: 'noNetns' });
    assert.throws(() => engine.open(), /once/);
    await engine.close(0);
  });

  test('takes no other ownership than a list of buckets and a time', async () => {
    await using namespace = await Namespace.create();
    const engine = nativeEngine(namespace.path);
    await engine.open();
    for (const args of [
      [],
      [[0]],
      [0, 1],
      [[0], '1'],
      [['0'], 1],
      [[1023], 1],
      [{}, 1],
      [[undefined], 1],
    ]) {
      assert.throws(() => call(engine, 'setOwnership', ...args), TypeError);
    }
    await engine.close(0);
  });

  test('once closed', async () => {
    await using namespace = await Namespace.create();
    const engine = nativeEngine(namespace.path);
    await engine.open();
    await Promise.all([engine.close(1000), engine.close(0), engine.close(1e300)]);
    await engine.close(0);
    engine.readDrops();
    engine.ref();
    engine.unref();
    assert.ok(engine.counters().byteLength > 0);
    assert.throws(() => engine.setOwnership([0], 1));
  });

  test('closed while it is being opened', async () => {
    await using namespace = await Namespace.create();
    for (let round = 0; round < 5; round += 1) {
      const engine = nativeEngine(namespace.path);
      await Promise.allSettled([engine.open(), engine.close(0)]);
      await engine.close(0);
      assert.deepEqual(await boundQueues(namespace), []);
    }
  });
});
