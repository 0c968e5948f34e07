import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { NfqClusterError } from '../errors.js';
import { ended, type Namespace } from './namespaces.js';

/** The path of a program of this package, built, by its path from here. */
export const program = (path: string): string =>
  fileURLToPath(new URL(`${path}.js`, import.meta.url));

/**
 * Starts one of the laboratory's own programs with a channel to it, and waits until its first
 * message, which means that it is ready.
 */
export async function startProgram(
  namespace: Namespace,
  name: string,
  args: readonly (string | number)[] = [],
): Promise<ChildProcess> {
  const child = namespace.spawn(process.execPath, [program(`./${name}`), ...args.map(String)], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  const errors = text(child.stderr!);
  const ready = await Promise.race([
    once(child, 'message').then(() => true),
    ended(child).then(() => false),
  ]);
  if (ready) return child;
  throw new NfqClusterError(
    'ERR_SYSTEM',
    `The ${name} of the laboratory did not start: ${(await errors).trim()}`,
  );
}
