import { setTimeout as delay } from 'node:timers/promises';
import { native } from '../native.js';
import { netnsFile } from '../netns.js';

const PATIENCE_MS = 10_000;
const TRY_EVERY_MS = 5;

/**
 * Does something while no other process, and nobody else in this one, makes or takes back a setup in the same
 * network namespace: each looks at what the others have. The lock (flock(2)) is on the namespace itself, so that
 * it needs no file, and ends with this process, however that ends. Whoever does not get it within a while goes on
 * without it, since its holder may be stopped, or hold it out of spite.
 */
export async function inTurn<T>(netns: string | undefined, work: () => Promise<T>): Promise<T> {
  const release = await lock(netnsFile(netns));
  try {
    return await work();
  } finally {
    release?.();
  }
}

async function lock(path: string): Promise<(() => void) | undefined> {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    const release = attempt(path);
    if (release !== 'taken') return release;
    if (performance.now() >= end) return undefined;
    await delay(TRY_EVERY_MS);
  }
}

function attempt(path: string): (() => void) | 'taken' | undefined {
  try {
    return native.lockNetns(path) ?? 'taken';
  } catch {
    // What comes next tells why there is no such namespace.
    return undefined;
  }
}
