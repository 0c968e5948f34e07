import { spawnSync } from 'node:child_process';
import { NfqClusterError } from '../errors.js';
import { findProgram } from '../setup/exec.js';

const TOOLS = ['unshare', 'nsenter', 'setpriv', 'ip', 'nft'];

/* An ordinary user's PATH often lacks the folders where these are. */
const PATH = [process.env['PATH'] ?? '', '/usr/local/sbin', '/usr/sbin', '/sbin'].join(':');

export interface Privilege {
  /** A command that runs the command behind it where network namespaces may be made. */
  prefix: string[];
  env: NodeJS.ProcessEnv;
}

/**
 * Finds out how this process comes by network namespaces: by itself as root, else in a user
 * namespace. Changes nothing.
 * @throws NfqClusterError `ERR_NO_TOOL`, `ERR_PRIVILEGE`
 */
export function findPrivilege(): Privilege {
  requireTools();
  const root = process.geteuid!() === 0;
  const prefix = root ? [] : ['unshare', '--user', '--map-root-user'];
  /* The usual lock, in /run, may be another user's. This one is the network namespace itself. */
  const env = { ...process.env, PATH, XTABLES_LOCKFILE: '/proc/self/ns/net' };
  const line = [...prefix, 'unshare', '--net', 'true'];
  const { status, stderr } = spawnSync(line[0]!, line.slice(1), { env, encoding: 'utf8' });
  if (status !== 0) throw refused(root, stderr.trim());
  return { prefix, env };
}

function requireTools(): void {
  const missing = TOOLS.filter((tool) => findProgram(tool) === undefined);
  if (missing.length === 0) return;
  throw new NfqClusterError('ERR_NO_TOOL', `The laboratory needs ${missing.join(', ')}`, {
    remedy: 'Install the packages util-linux, iproute2 and nftables (on Alpine also setpriv)',
  });
}

function refused(root: boolean, reason: string): NfqClusterError {
  return new NfqClusterError(
    'ERR_PRIVILEGE',
    `The system refuses network namespaces to this ${root ? 'process' : 'user'} (${reason})`,
    {
      remedy: root
        ? 'In a container, give it CAP_SYS_ADMIN and CAP_NET_ADMIN: "--privileged" for Docker and Podman'
        : 'Run it as root, or allow user namespaces: set user.max_user_namespaces above 0, on Debian kernel.unprivileged_userns_clone=1, on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0',
    },
  );
}
