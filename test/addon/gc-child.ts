/* For lifetime.test.ts, with --expose-gc: does one thing, and says what was collected. */
import assert from 'node:assert/strict';
import { open } from '../../src/engine.js';
import { Hasher } from '../../src/hash.js';
import { native, type NativeEngine } from '../../src/native.js';
import { waitFor } from '../support/processes.js';
import { nativeConfig, quiet } from './lab.js';

const [netns, what] = process.argv.slice(2) as [string, string];

const collect = (): void => (globalThis.gc as unknown as () => void)();

/** Waits until all is collected that they refer to. */
async function collected(references: readonly WeakRef<object>[]): Promise<void> {
  await waitFor('all is collected', () => {
    collect();
    return references.every((reference) => reference.deref() === undefined);
  });
}

/** Each in a function of its own, so that no local variable of the caller refers to what was made. */
const scenarios: Record<string, () => Promise<void>> = {
  async hashers() {
    const make = (): WeakRef<Hasher> => {
      const hasher = new Hasher({ hashSeed: 0, totalNodes: 2 });
      hasher.bucketsIpv4(new Uint32Array(16));
      return new WeakRef(hasher);
    };
    await collected(Array.from({ length: 1000 }, make));
  },

  async 'a closed engine'() {
    const make = async (): Promise<WeakRef<object>[]> => {
      const engine = await open(quiet(netns));
      engine.on('fault', () => assert.fail(`${engine.options.name}: fault`));
      engine.stats();
      await engine.setOwnership({ nodes: [2] });
      const changes = engine.changes(1);
      await changes.next();
      await engine.close();
      return [new WeakRef(engine), new WeakRef(changes)];
    };
    for (let round = 0; round < 3; round += 1) await collected(await make());
  },

  async 'an engine that could not open'() {
    const make = async (): Promise<WeakRef<object>> => {
      const onFault = (): void => void engine.remaining();
      const engine: NativeEngine = new native.NativeEngine(
        nativeConfig('/nowhere'),
        [0],
        Infinity,
        onFault,
      );
      await assert.rejects(engine.open());
      return new WeakRef(engine);
    };
    await collected([await make()]);
  },

  async 'an engine that was never opened'() {
    const make = (): WeakRef<object> => {
      return new WeakRef(
        new native.NativeEngine(nativeConfig(netns), [0], Infinity, () => undefined),
      );
    };
    await collected(Array.from({ length: 100 }, make));
  },

  async 'not an engine before its close() is done'() {
    const closing = (): Promise<void> =>
      new native.NativeEngine(nativeConfig(netns), [0], Infinity, () => undefined).close(0);
    for (let round = 0; round < 20; round += 1) {
      const all = Array.from({ length: 50 }, closing);
      collect();
      await Promise.all(all);
    }
  },

  async 'not an open engine'() {
    let faults = 0;
    const make = async (): Promise<WeakRef<NativeEngine>> => {
      const engine = new native.NativeEngine(
        nativeConfig(netns),
        [0],
        Infinity,
        () => (faults += 1),
      );
      await engine.open();
      return new WeakRef(engine);
    };
    const reference = await make();
    for (let round = 0; round < 20; round += 1) {
      collect();
      await new Promise(setImmediate);
    }
    const engine = reference.deref();
    assert.ok(engine !== undefined, 'an open engine was collected');
    await engine.setOwnership([1], Infinity);
    await engine.close(0);
    assert.equal(faults, 0);
  },

  async 'not the counters'() {
    const make = async (): Promise<[WeakRef<NativeEngine>, ArrayBuffer]> => {
      const engine = new native.NativeEngine(nativeConfig(netns), [0], Infinity, () => undefined);
      const memory = engine.counters();
      await engine.open();
      await engine.close(0);
      return [new WeakRef(engine), memory];
    };
    const [reference, memory] = await make();
    await collected([reference]);
    // The addon learns of it a little later. Memory that it gave back would then be theirs, and zero.
    for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate);
    const others = Array.from(
      { length: 20 },
      () => new native.NativeEngine(nativeConfig(netns), [0], Infinity, () => undefined),
    );
    const slots = new BigUint64Array(memory);
    const { receiveBuffer } = native.layout.counters;
    assert.ok(slots[receiveBuffer]! > 0n, 'what the engine wrote last');
    assert.equal(others.length, 20);
  },
};

await scenarios[what]!();
console.log('done');
