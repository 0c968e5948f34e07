import { open } from 'node:fs/promises';
import type { ResolvedOptions } from './option-types.js';
import { netnsPath } from './setup/exec.js';

/** A network namespace that stays reachable, whatever becomes of its name or of the process that the path names. */
export interface HeldNetns {
  /** The same options, with a path by which this process alone finds the namespace. */
  options: ResolvedOptions;
  release: () => Promise<void>;
}

export async function holdNetns(options: ResolvedOptions): Promise<HeldNetns> {
  const none = { options, release: () => Promise.resolve() };
  if (options.netns === undefined) return none;
  // Where it cannot be opened, what comes next tells why.
  const file = await open(netnsPath(options.netns)).catch(() => undefined);
  if (file === undefined) return none;
  return {
    options: { ...options, netns: `/proc/self/fd/${file.fd}` },
    release: () => file.close(),
  };
}
