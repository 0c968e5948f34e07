import type { ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { ended, type Namespace } from '../../src/lab/namespaces.js';

export const root = path.resolve(import.meta.dirname, '../..');

/** The path of a program of bench/native. */
export const program = (name: string): string => path.join(root, 'native/build/bin', name);

/** Generator on one processor, everything that decides on another. */
export const PROCESSOR = { generator: '0', contender: '1' } as const;

/** The command line that pins a program to processors. */
export const pinned = (processors: string, line: readonly string[]): [string, string[]] => [
  'taskset',
  ['--cpu-list', processors, ...line],
];

/** Starts a program on some processors and waits until it says that it is ready. */
export async function startPinned(
  namespace: Namespace,
  processors: string,
  line: readonly string[],
): Promise<ChildProcess> {
  const child = namespace.spawn(...pinned(processors, line), { stdio: 'pipe' });
  const errors = text(child.stderr!);
  const ready = await Promise.race([
    saysReady(child).then(() => true),
    ended(child).then(() => false),
  ]);
  if (!ready) throw new Error(`${line.join(' ')} did not start: ${(await errors).trim()}`);
  return child;
}

async function saysReady(child: ChildProcess): Promise<void> {
  const lines = createInterface({ input: child.stdout! });
  await new Promise<void>((resolve) => lines.on('line', (line) => /ready/.test(line) && resolve()));
}

/** Ends a program as its user would, and waits for its end. */
export async function stop(child: ChildProcess): Promise<void> {
  child.kill('SIGCONT');
  child.kill('SIGTERM');
  await ended(child);
}

/** That a contender's program failed: its round has no figures, and others go on. */
export class ContenderFailed extends Error {}

/** Nanoseconds of processor time that a program and all its threads have used. @throws ContenderFailed if it ended */
export const processorTime = (child: ChildProcess): number =>
  ofProcess(child, (directory) =>
    readdirSync(`${directory}/task`)
      .map((thread) => readFileSync(`${directory}/task/${thread}/schedstat`, 'utf8'))
      .reduce((sum, stat) => sum + Number(stat.split(' ', 1)[0]), 0),
  );

/** Bytes of memory that a program holds. @throws ContenderFailed if it ended */
export const residentMemory = (child: ChildProcess): number =>
  ofProcess(child, (directory) => {
    const status = readFileSync(`${directory}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+)/.exec(status)![1]) * 1024;
  });

function ofProcess(child: ChildProcess, read: (directory: string) => number): number {
  try {
    return read(`/proc/${child.pid}`);
  } catch (cause) {
    throw new ContenderFailed('its program ended while it was measured', { cause });
  }
}
