import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { findProgram, netnsPath } from './exec.js';

const PATIENCE_MS = 10_000;

/**
 * Does something while no other process, and nobody else in this one, makes or takes back a setup in the same
 * network namespace: each looks at what the others have. The lock (flock(2)) is on the namespace itself, so that
 * it needs no file, and ends with this process, however that ends. Whoever does not get it within a while goes on
 * without it, since its holder may be stopped, or hold it out of spite.
 */
export async function inTurn<T>(netns: string | undefined, work: () => Promise<T>): Promise<T> {
  const release = await lock(netnsPath(netns) || '/proc/self/ns/net');
  try {
    return await work();
  } finally {
    release();
  }
}

async function lock(path: string): Promise<() => void> {
  const flock = findProgram('flock');
  // Where there is nothing, flock would make a file.
  if (flock === undefined || !existsSync(path)) return () => undefined;
  const holder = start(flock, [path, 'cat']);
  if (holder === undefined) return () => undefined;
  // If the process can open no more files, there are no streams, and the error comes after this.
  holder.stdin?.on('error', () => undefined).write('?');
  const waiting = new AbortController();
  const { signal } = waiting;
  const failed = once(holder, 'exit', { signal }).then(() => false);
  const echoed = holder.stdout ? once(holder.stdout, 'data', { signal }).then(() => true) : failed;
  const late = delay(PATIENCE_MS, false, { signal });
  // Nor is a failure to start it a reason not to go on.
  const locked = await Promise.race([echoed, failed, late]).catch(() => false);
  for (const other of [echoed, failed, late]) other.catch(() => undefined);
  waiting.abort();
  return () => {
    holder.stdin?.end();
    // Killed while it has the lock, it would leave its cat to process 1, which in a container may be this one.
    if (!locked) holder.kill();
  };
}

/** Starts a program; undefined if none may be started, as under Node's --permission. */
function start(program: string, args: readonly string[]): ChildProcess | undefined {
  try {
    return spawn(program, args, { stdio: ['pipe', 'pipe', 'ignore'], detached: true });
  } catch {
    return undefined;
  }
}
