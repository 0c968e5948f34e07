/* An engine's life without a single packet. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Hasher, open, type NfqClusterError, type Options } from '../../src/index.js';
import { Namespace } from '../../src/lab/namespaces.js';
import { waitFor } from '../support/processes.js';
import { boundQueues, quiet, skip } from './lab.js';

const INVALID = { name: 'NfqClusterError', code: 'ERR_INVALID_OPTION' };

describe('an engine', { skip }, () => {
  test('binds its queues, and unbinds them when it is closed', async () => {
    await using namespace = await Namespace.create();
    await using engine = await open({ ...quiet(namespace.path), queues: [4, 3, 5] });
    assert.deepEqual(await boundQueues(namespace), [3, 4, 5]);
    assert.deepEqual(engine.options.queues, [3, 4, 5]);
    assert.equal(engine.mechanism, undefined);
    await engine.close();
    assert.deepEqual(await boundQueues(namespace), []);
  });

  test('gives each queue a thread with a name', async () => {
    await using namespace = await Namespace.create();
    const names = (): string[] =>
      threadNames().filter((name) => name === 'nfq-61' || name === 'nfq-62');
    await using engine = await open({ ...quiet(namespace.path), queues: [61, 62] });
    assert.deepEqual(names().sort(), ['nfq-61', 'nfq-62']);
    await engine.close();
    assert.deepEqual(names(), []);
  });

  test('holds no socket and no file once it is closed, however long it is referred to', async () => {
    await using namespace = await Namespace.create();
    const held = (): { sockets: number; files: number } => ({
      sockets: readFileSync(`/proc/${namespace.pid}/net/netlink`, 'utf8').split('\n').length,
      files: openFiles().filter((name) => name.endsWith('nfnetlink_queue')).length,
    });
    const before = held();
    const engine = await open({
      ...{ ...quiet(namespace.path), queues: [0, 1] },
      ...{ rules: 'auto', offload: ['flows'], conntrack: 'netlink', control: 'none' },
    });
    const { sockets, files } = held();
    assert.ok(sockets >= before.sockets + 4 && files === before.files + 2, `${sockets}, ${files}`);
    await engine.close();
    assert.deepEqual(held(), before);
    assert.equal(engine.stats().received, 0);
  });

  test('hashes by a hasher of its own, also once it is closed', async () => {
    await using namespace = await Namespace.create();
    for (const hashing of [
      { policy: 'xt_cluster', totalNodes: 5, localNode: 1, hashSeed: 7 },
      {
        policy: 'clusterip',
        hashMode: 'sourceip-sourceport',
        totalNodes: 4,
        localNode: 1,
        hashSeed: 9,
      },
    ] as const) {
      const { localNode: _, ...pure } = hashing;
      const engine = await open({ ...quiet(namespace.path), ...hashing });
      const packet = { src: '192.0.2.1', protocol: 6, sport: 1234, dport: 80 };
      const { bucket } = new Hasher(pure).explain(packet);
      assert.equal(engine.hasher.bucket(packet), bucket);
      await engine.close();
      assert.equal(engine.hasher.bucket(packet), bucket);
    }
  });

  test('is closed once, however often it is asked to', async () => {
    await using namespace = await Namespace.create();
    await using engine = await open(quiet(namespace.path));
    let closes = 0;
    engine.on('close', () => (closes += 1));
    const first = engine.close();
    assert.equal(engine.close({ deadline: 0 }), first);
    await Promise.all([first, engine.close(), engine[Symbol.asyncDispose]()]);
    await engine.close();
    assert.equal(closes, 1);
  });

  test('is closed all the same where a listener throws, who is told as any other', async (t) => {
    await using namespace = await Namespace.create();
    const engine = await open(quiet(namespace.path));
    engine.on('close', () => {
      throw new Error('on purpose');
    });
    const uncaught: string[] = [];
    process.setUncaughtExceptionCaptureCallback(({ message }) => uncaught.push(message));
    t.after(() => process.setUncaughtExceptionCaptureCallback(null));
    await engine.close();
    assert.deepEqual(uncaught, ['on purpose']);
    assert.deepEqual(await boundQueues(namespace), []);
  });

  test('is closed by `await using`', async () => {
    await using namespace = await Namespace.create();
    {
      await using engine = await open(quiet(namespace.path));
      assert.equal(engine.stats().received, 0);
      assert.deepEqual(await boundQueues(namespace), [0]);
    }
    assert.deepEqual(await boundQueues(namespace), []);
  });

  test('takes deadlines of 0 to Infinity, and no other', async () => {
    await using namespace = await Namespace.create();
    await using engine = await open(quiet(namespace.path));
    for (const deadline of [-1, NaN, '1', null] as number[]) {
      await assert.rejects(engine.close({ deadline }), INVALID);
    }
    for (const wrong of [null, 5, new Proxy({}, { get: () => assert.fail() })] as object[]) {
      await assert.rejects(engine.close(wrong), { code: 'ERR_INVALID_OPTION' });
    }
    await assert.rejects(engine.close({ dedline: 5 } as object), /Did you mean deadline\?/);
    assert.deepEqual(await boundQueues(namespace), [0], 'a wrong argument closes nothing');
    await engine.close({ deadline: Infinity });
    for (const deadline of [0, 1e300, 0.5]) {
      await (await open(quiet(namespace.path))).close({ deadline });
    }
  });

  test('says what it owns, and for how long', async () => {
    await using namespace = await Namespace.create();
    await using engine = await open(quiet(namespace.path));
    assert.deepEqual(engine.ownership, { buckets: [0], validFor: Infinity });
    await engine.setOwnership({ nodes: [2, 1], validFor: 60_000 });
    const { buckets, validFor } = engine.ownership;
    assert.deepEqual(buckets, [0, 1]);
    assert.ok(validFor > 0 && validFor <= 60_000);
    await waitFor('time passes', () => engine.ownership.validFor < validFor);
    await engine.setOwnership({ buckets: [1], validFor: 1 });
    await waitFor('its time is over', () => engine.ownership.validFor === 0);
    assert.deepEqual(engine.ownership.buckets, [1]);
    await engine.setOwnership({ buckets: [] });
    assert.deepEqual(engine.ownership, { buckets: [], validFor: Infinity });
  });

  test('keeps what it owns where a change is refused', async () => {
    await using namespace = await Namespace.create();
    await using engine = await open(quiet(namespace.path));
    for (const wrong of [
      undefined,
      {},
      { nodes: [3] },
      { buckets: [2] },
      { nodes: [1], validFor: 0 },
    ]) {
      await assert.rejects(engine.setOwnership(wrong as { nodes: number[] }), INVALID);
    }
    assert.deepEqual(engine.ownership, { buckets: [0], validFor: Infinity });
  });

  test('owns what was given, whatever becomes of it', async () => {
    await using namespace = await Namespace.create();
    const offload: ('flows' | 'sources')[] = ['flows'];
    await using engine = await open({ ...quiet(namespace.path), rules: 'auto', offload });
    offload.pop();
    assert.deepEqual(engine.options.offload, ['flows']);
    const nodes = [2];
    const changed = engine.setOwnership({ nodes });
    nodes.push(1);
    await changed;
    assert.deepEqual(engine.ownership.buckets, [1]);
    engine.ownership.buckets.push(0);
    assert.deepEqual(engine.ownership.buckets, [1]);
  });

  test('has options that nobody can change any more', async () => {
    await using namespace = await Namespace.create();
    const ownership = { buckets: [0] };
    const options: Options = { ...quiet(namespace.path), ownership };
    delete options.localNode;
    await using engine = await open(options);
    const seen = engine.options as unknown as { hashSeed: number; owned: number[] };
    assert.throws(() => (seen.hashSeed = 1), TypeError);
    assert.throws(() => seen.owned.push(1), TypeError);
    assert.throws(() => (engine.options.marks.direct = 1), TypeError);
    ownership.buckets.push(1);
    assert.deepEqual(engine.ownership.buckets, [0]);
  });

  test('tells in an error who asked, even where a change waits for others', async () => {
    await using namespace = await Namespace.create();
    const engine = await open({ ...quiet(namespace.path), rules: 'auto', offload: ['flows'] });
    await engine.close();
    async function whoAsks(): Promise<void> {
      await engine.setOwnership({ nodes: [1] });
    }
    await assert.rejects(whoAsks, ({ code, stack }: NfqClusterError) => {
      assert.equal(code, 'ERR_CLOSED');
      assert.match(stack!, /at async whoAsks/);
      return true;
    });
  });

  test('takes many changes at once', async () => {
    await using namespace = await Namespace.create();
    await using engine = await open({ ...quiet(namespace.path), queues: [0, 1] });
    await Promise.all(
      Array.from({ length: 100 }, (_, at) => engine.setOwnership({ buckets: [at % 2] })),
    );
    assert.deepEqual(engine.ownership.buckets, [1]);
  });

  test('gives the growth of its counts until it is closed', async () => {
    await using namespace = await Namespace.create();
    await using engine = await open(quiet(namespace.path));
    const seen: number[] = [];
    for await (const change of engine.changes(1)) {
      seen.push(change.received);
      if (seen.length < 3) continue;
      const soon = performance.now() + 20;
      await waitFor('some intervals pass', () => performance.now() > soon);
      await engine.close();
    }
    assert.deepEqual(seen, [0, 0, 0]);
    for (const interval of [0, -1, 1.5, NaN, 2 ** 31, Infinity, '1'] as number[]) {
      await assert.rejects(engine.changes(interval).next(), INVALID);
    }
  });

  test('ends a wait for them at once where that is asked', async () => {
    await using namespace = await Namespace.create();
    await using engine = await open(quiet(namespace.path));
    const changes = engine.changes(60_000);
    const waiting = changes.next();
    const before = performance.now();
    assert.deepEqual(await changes.return!(), { done: true, value: undefined });
    assert.equal((await waiting).done, true);
    assert.ok(performance.now() - before < 5000);
    assert.equal((await changes.next()).done, true);
    const unused = engine.changes();
    await unused.return!();
    assert.equal((await unused.next()).done, true);
  });

  test('gives one of them for all intervals that were let pass', async (t) => {
    await using namespace = await Namespace.create();
    await using engine = await open(quiet(namespace.path));
    // Node.js 24 warns of a negative delay.
    const warned = t.mock.fn();
    process.on('warning', warned);
    t.after(() => process.off('warning', warned));
    const changes = engine.changes(300);
    await changes.next();
    await delay(1000);
    await changes.next();
    const before = performance.now();
    await changes.next();
    const waited = performance.now() - before;
    assert.ok(waited > 100, `${waited} ms`);
    assert.equal(warned.mock.callCount(), 0);
  });

  test('ends them when all is taken back', async () => {
    await using namespace = await Namespace.create();
    const before = await namespace.run('nft', ['list', 'ruleset']);
    await using engine = await open({ ...quiet(namespace.path), rules: 'auto' });
    const changes = engine.changes(1);
    await changes.next();
    const closing = engine.close();
    for await (const _ of changes);
    assert.equal(await namespace.run('nft', ['list', 'ruleset']), before);
    await closing;
  });

  test('gives them to many at once, without a warning', async (t) => {
    await using namespace = await Namespace.create();
    await using engine = await open(quiet(namespace.path));
    const warned = t.mock.method(process, 'emitWarning', () => undefined);
    const all = Array.from({ length: 20 }, () => engine.changes(1));
    await Promise.all(all.map((changes) => changes.next()));
    assert.deepEqual(warned.mock.calls, []);
  });

  test('once closed, has statistics still, and no other use', async () => {
    await using namespace = await Namespace.create();
    await using engine = await open(quiet(namespace.path));
    await engine.close();
    const stats = engine.stats();
    assert.equal(stats.received, 0);
    assert.ok(stats.receiveBuffer > 0);
    assert.deepEqual(engine.ownership.buckets, [0]);
    await assert.rejects(engine.setOwnership({ nodes: [1] }), { code: 'ERR_CLOSED' });
    for (const change of ['+1', '+2', '1']) {
      await assert.rejects(engine.own(change), { code: 'ERR_CLOSED' });
    }
    assert.equal(engine.ref().unref(), engine);
    assert.equal((await engine.changes(1).next()).done, true);
  });
});

/** The names of this process's threads. */
const threadNames = (): string[] =>
  readdirSync('/proc/self/task').map((id) =>
    readFileSync(`/proc/self/task/${id}/comm`, 'utf8').trim(),
  );

const openFiles = (): string[] =>
  readdirSync('/proc/self/fd').flatMap((descriptor) => {
    try {
      return [readlinkSync(`/proc/self/fd/${descriptor}`)];
    } catch {
      return []; // closed meanwhile
    }
  });
