/* For lifetime.test.ts: takes an engine to a step of its life, and leaves from there. */
import process from 'node:process';
import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import { open } from '../../src/engine.js';
import { quiet } from './lab.js';

export type Step = 'opening' | 'half open' | 'opened' | 'closing' | 'closed';
export type Way = 'exit' | 'throw' | 'reject' | 'end' | 'unref' | 'wait' | 'unprivileged';

const { args } = isMainThread
  ? { args: process.argv.slice(2) }
  : (workerData as { args: readonly string[] });
const [netns, step, way] = args as [string, Step, Way];

/** Leaves, if the step is the one that was asked for. */
function at(here: Step): void {
  if (step !== here) return;
  parentPort?.postMessage(here);
  if (way === 'exit') process.exit(7);
  if (way === 'throw') throw new Error('on purpose');
  if (way === 'reject') void Promise.reject(new Error('on purpose'));
}

const opening = open(quiet(netns));
at('opening');
setImmediate(at, 'half open');
const engine = await opening;
at('opened');
if (way === 'unref') engine.unref();
if (way === 'wait') {
  // This timer alone would not keep the process alive: it fires if the engine does.
  setTimeout(() => {
    console.log('alive');
    engine.unref();
  }, 200).unref();
}
if (way === 'unprivileged') {
  process.setgroups!([]);
  process.setgid!(65534);
  process.setuid!(65534);
}
if (step === 'closing' || step === 'closed') {
  const closing = engine.close();
  at('closing');
  await closing;
  at('closed');
}
