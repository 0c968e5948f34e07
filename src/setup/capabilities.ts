import { readFileSync } from 'node:fs';

export const CAP_NET_ADMIN = 12n;
export const CAP_SYS_ADMIN = 21n;

/** The effective capabilities of this process, as bits. */
export function readCapabilities(): bigint {
  const status = readFileSync('/proc/self/status', 'utf8');
  return BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)![1]!}`);
}

export const hasCapability = (capabilities: bigint, bit: bigint): boolean =>
  ((capabilities >> bit) & 1n) === 1n;
