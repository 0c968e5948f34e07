import { stat } from 'node:fs/promises';
import path from 'node:path';
import { NfqClusterError } from '../errors.js';
import { netnsFile } from '../netns.js';
import { hidden } from '../setup/proc.js';

/** Where the control sockets of engines are, unless a path is given. */
export const CONTROL_DIRECTORY = '/run/nfq-cluster';

/**
 * The default control socket of an engine, `NAME@INODE.sock`. The inode is that of its network namespace, as
 * `lsns` shows it: names of rules and numbers of queues count within a namespace, and so does this name.
 * @throws NfqClusterError `ERR_NO_NETNS`; `ERR_SYSTEM` where /proc does not show the process's own
 */
export async function controlPath(name: string, netns: string | undefined): Promise<string> {
  const file = netnsFile(netns);
  try {
    const { ino } = await stat(file);
    return path.join(CONTROL_DIRECTORY, `${name}@${ino}.sock`);
  } catch (cause) {
    if (netns === undefined) throw hidden(file, cause as NodeJS.ErrnoException);
    throw new NfqClusterError('ERR_NO_NETNS', `No network namespace ${file}`, {
      remedy: '"ip netns list" lists those that have a name',
      cause,
    });
  }
}
