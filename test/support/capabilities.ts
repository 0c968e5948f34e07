import { spawnSync } from 'node:child_process';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { root } from './processes.js';

const UID = 65534;

/** Starts a program as an ordinary user. */
export const NOBODY: readonly [string, ...string[]] = [
  'setpriv',
  `--reuid=${UID}`,
  `--regid=${UID}`,
  '--clear-groups',
];

/** Starts a program as an ordinary user who has CAP_NET_ADMIN and nothing else. */
export const NET_ADMIN_ALONE: readonly string[] = [
  ...NOBODY,
  '--inh-caps=-all,+net_admin',
  '--ambient-caps=-all,+net_admin',
  '--bounding-set=-all,+net_admin',
];

/** Why root can start nothing of ours as an ordinary user: a checkout in root's home, for one. False if it can. */
export function hiddenFromOthers(): string | false {
  const [setpriv, ...args] = NOBODY;
  const read = `fs.accessSync(${JSON.stringify(path.join(root, 'dist/cli/main.js'))})`;
  const { status } = spawnSync(setpriv, [...args, process.execPath, '-e', read]);
  return status === 0 ? false : 'others cannot read this checkout, or not run its Node.js';
}

/** Why a process cannot change its user: Node.js refuses where libuv may use io_uring, as Debian 13's. False if it can. */
export function keepsUser(): string | false {
  try {
    process.seteuid!(process.geteuid!());
    return false;
  } catch (error) {
    return (error as Error).message;
  }
}

interface Folder extends AsyncDisposable {
  path: string;
}

/** A folder that everybody may write to. */
export async function openFolder(): Promise<Folder> {
  const folder = await mkdtemp(path.join(tmpdir(), 'nfq-cluster-test-'));
  await chmod(folder, 0o777);
  return {
    path: folder,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  };
}
