/* What /proc tells of this process, and what is to be said where it tells nothing. */
import { readFileSync } from 'node:fs';
import { NfqClusterError } from '../errors.js';

export const CAP_NET_ADMIN = 12n;
export const CAP_SYS_ADMIN = 21n;

/**
 * The effective capabilities of this process, as bits.
 * @throws NfqClusterError `ERR_SYSTEM` where /proc is hidden
 */
export function readCapabilities(): bigint {
  const file = '/proc/self/status';
  try {
    return BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync(file, 'utf8'))![1]!}`);
  } catch (error) {
    throw hidden(file, error as NodeJS.ErrnoException);
  }
}

export const hasCapability = (capabilities: bigint, bit: bigint): boolean =>
  ((capabilities >> bit) & 1n) === 1n;

/** The error for a file of /proc that cannot be seen. */
export const hidden = (path: string, cause: NodeJS.ErrnoException): NfqClusterError =>
  new NfqClusterError('ERR_SYSTEM', `Cannot see ${path}: ${cause.message}`, {
    expected: 'a /proc that shows /proc/net and /proc/sys/net',
    found: 'one that hides them',
    remedy:
      'Let this process see all of /proc: no ProcSubset=pid in a systemd unit, and nothing mounted over parts of it',
    errno: cause.errno,
    syscall: 'access',
    cause,
  });
