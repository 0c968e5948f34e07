import { stat } from 'node:fs/promises';
import path from 'node:path';
import { netnsPath } from '../setup/exec.js';

/** Where the control sockets of engines are, unless a path is given. */
export const CONTROL_DIRECTORY = '/run/nfq-cluster';

/**
 * The default control socket of an engine, `NAME@INODE.sock`. The inode is that of its network namespace, as
 * `lsns` shows it: names of rules and numbers of queues count within a namespace, and so does this name.
 */
export async function controlPath(name: string, netns: string | undefined): Promise<string> {
  const file = netns === undefined ? '/proc/self/ns/net' : netnsPath(netns);
  const inode = await stat(file).then(
    ({ ino }) => `${ino}`,
    () => 'none',
  );
  return path.join(CONTROL_DIRECTORY, `${name}@${inode}.sock`);
}
