import { spawn } from 'node:child_process';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { Worker } from 'node:worker_threads';
import { ended, type Namespace } from '../../src/lab/namespaces.js';
import {
  native,
  type NativeEngine,
  type NativeEngineConfig,
  type NativeHasher,
} from '../../src/native.js';
import type { Options } from '../../src/options/types.js';
import { resolveOptions } from '../../src/options/resolve.js';
import type { Outcome } from '../support/processes.js';

export const skip = process.getuid?.() === 0 ? false : 'needs root';

/** Options for an engine without traffic: it listens on `lo` of a namespace of its own. */
export const quiet = (netns: string, queue = 0): Options => ({
  netns,
  queues: [queue],
  interfaces: ['lo'],
  hashSeed: 0,
  totalNodes: 2,
  localNode: 1,
});

/** What src/engine.ts would give the addon; an empty path stays in this namespace. */
export function nativeConfig(netns = '', queue = 0): NativeEngineConfig {
  const ours = {
    realtime: 0,
    realtimeRequired: false,
    hearsExpectations: true,
    marksForRules: true,
    table: '',
  };
  return { ...resolveOptions(quiet('anything', queue)), ...ours, netns };
}

export const nativeEngine = (netns = '', queue = 0): NativeEngine =>
  new native.NativeEngine(nativeConfig(netns, queue), [0], Infinity, () => undefined);

/** Runs a script of this folder to its end. `wrapper` is a program and its arguments before it. */
export async function child(
  script: string,
  args: readonly string[],
  { flags = [], wrapper = [] }: { flags?: readonly string[]; wrapper?: readonly string[] } = {},
): Promise<Outcome> {
  const file = path.join(import.meta.dirname, script);
  const line = [...wrapper, process.execPath, ...flags, '--import', 'tsx', file, ...args];
  const program = spawn(line[0]!, line.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
  const [stdout, stderr] = await Promise.all([text(program.stdout), text(program.stderr)]);
  return { status: await ended(program), stdout, stderr };
}

/** Runs a script of this folder in a worker thread; it finds `args` in `workerData`. */
export function thread(script: string, args: readonly string[]): Worker {
  const workerData = { file: path.join(import.meta.dirname, script), args };
  return new Worker(path.join(import.meta.dirname, 'thread.mjs'), { workerData, stdout: true });
}

/** The queues that somebody listens on. */
export async function boundQueues(namespace: Namespace): Promise<number[]> {
  const listing = await namespace.run('cat', ['/proc/net/netfilter/nfnetlink_queue']);
  return listing
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => Number(line.trim().split(/\s+/)[0]));
}

/** Values that are no object. */
export const NOTHING = [undefined, null, true, 1, 'x', Symbol('x'), 10n] as const;

type Any = (...args: unknown[]) => unknown;

/** Calls a method with arguments that its type forbids. */
export const call = (object: object, method: string, ...args: unknown[]): unknown =>
  (object as Record<string, Any>)[method]!(...args);

/** The addon's classes, for arguments and for a `this` that their types forbid. */
export const loose = {
  Hasher: native.NativeHasher as unknown as (new (...args: unknown[]) => NativeHasher) & Any,
  Engine: native.NativeEngine as unknown as (new (...args: unknown[]) => NativeEngine) & Any,
  method: (type: { prototype: object }, name: string): Any =>
    (type.prototype as Record<string, Any>)[name]!,
};
