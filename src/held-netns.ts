import { close, constants, open } from 'node:fs';
import { promisify } from 'node:util';
import { native } from './native.js';
import { netnsPath } from './netns.js';

/** A network namespace that stays reachable, whatever becomes of its name or of the process that its path names. */
export interface HeldNetns {
  /** As the option `netns`; for this process alone, and until it is released. */
  path: string | undefined;
  release: () => Promise<void>;
}

/** @param netns as the option. What is no network namespace is left as it is: whoever enters it tells why */
export async function holdNetns(netns: string | undefined): Promise<HeldNetns> {
  const none = { path: netns, release: () => Promise.resolve() };
  if (netns === undefined) return none;
  const flags = constants.O_RDONLY | constants.O_NONBLOCK;
  const file = await promisify(open)(netnsPath(netns), flags).catch(() => undefined);
  if (file === undefined) return none;
  const held = { path: `/proc/self/fd/${file}`, release: () => promisify(close)(file) };
  try {
    await native.readFiles(held.path, []); // enters it
    return held;
  } catch {
    await held.release();
    return none;
  }
}
