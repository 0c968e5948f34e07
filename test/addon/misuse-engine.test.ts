/* NativeEngine and setQueueRule() given what src/ would never give them: an error, and never a crash. */
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { describe, test } from 'node:test';
import { Namespace } from '../../src/lab/namespaces.js';
import { native } from '../../src/native.js';
import { boundQueues, call, loose, nativeConfig, nativeEngine, NOTHING, skip } from './lab.js';

const { Engine, Hasher } = loose;
const HASHING = { policy: 'jhash', hashMode: 'sourceip', hashSeed: 0, buckets: 2 };

describe('NativeEngine', () => {
  const config = nativeConfig();
  const made =
    (...args: unknown[]) =>
    () =>
      new Engine(...args);

  test('is a class', () => {
    assert.throws(() => Engine(config, [], 1, () => 1), TypeError);
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
      ...[
        'queues',
        'interfaces',
        'policy',
        'hashMode',
        'hashSeed',
        'buckets',
        'action',
        'marks',
        'reinject',
      ],
      ...['queueLength', 'receiveBuffer', 'gather', 'busyPoll', 'realtime', 'netns'],
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
      'readCounts',
      'connections',
      'hasChain',
      'tableHandle',
      'ref',
      'unref',
    ]) {
      const own = loose.method(native.NativeEngine, method);
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
    engine.readCounts();
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

  test('does not find what has too long a name', async () => {
    await using namespace = await Namespace.create();
    for (const [table, chain] of [
      ['x'.repeat(5000), 'x'],
      ['x', 'x'.repeat(5000)],
      ['x'.repeat(255), 'x'.repeat(255)],
    ] as const) {
      const config = { ...nativeConfig(namespace.path), table };
      const engine = new native.NativeEngine(config, [0], Infinity, () => undefined);
      await engine.open();
      assert.notEqual(engine.hasChain(chain, false), true);
      assert.equal(engine.tableHandle(), undefined);
      await engine.close(0);
    }
  });

  test('once closed', async () => {
    await using namespace = await Namespace.create();
    const engine = nativeEngine(namespace.path);
    await engine.open();
    await Promise.all([engine.close(1000), engine.close(0), engine.close(1e300)]);
    await engine.close(0);
    engine.readCounts();
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

const { EINVAL, ENAMETOOLONG, ENOENT } = constants.errno;

describe('setQueueRule()', { skip }, () => {
  const refused = (
    errno: number,
    ...[table, chain, first, queues, cpuFanout = false]: [string, string, number, number, boolean?]
  ) => assert.rejects(native.setQueueRule('', table, chain, first, queues, cpuFanout), { errno });

  test('refuses a chain that does not exist', () => refused(ENOENT, 'none-such', 'c', 0, 1));

  test('refuses names that nft has no room for', async () => {
    await refused(ENAMETOOLONG, 'x'.repeat(256), 'c', 0, 1);
    await refused(ENAMETOOLONG, 'none-such', 'x'.repeat(100_000), 0, 1);
    await refused(ENOENT, 'x'.repeat(255), 'x'.repeat(255), 0, 1);
  });

  test('refuses queues that are none', async () => {
    await refused(EINVAL, 'none-such', 'c', 65_536, 1);
    await refused(EINVAL, 'none-such', 'c', 65_535, 2);
    await refused(EINVAL, 'none-such', 'c', 0, 0);
    await refused(ENOENT, 'none-such', 'c', 65_535, 1);
  });

  test('refuses to spread over one queue by processors', async () => {
    await refused(EINVAL, 'none-such', 'c', 0, 1, true);
    await refused(ENOENT, 'none-such', 'c', 0, 2, true);
  });

  test('takes nothing but texts, numbers and a boolean', () => {
    const { setQueueRule } = native as unknown as Record<string, (...given: unknown[]) => unknown>;
    const good = ['', 't', 'c', 0, 1, false];
    for (let at = 0; at < good.length; at += 1) {
      const wrong = good.with(at, typeof good[at] === 'number' ? '0' : 1);
      for (const given of [good.slice(0, at), wrong])
        assert.throws(() => setQueueRule!(...given), TypeError);
    }
  });
});
