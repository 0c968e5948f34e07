import { NfqClusterError } from '../errors.js';
import type { Address, Hasher, PacketFields } from '../hash.js';

/** What `hash` reads in a line, as a noun phrase. */
export const expectedOf = ({ policy }: Hasher): string =>
  policy === 'clusterip'
    ? 'an IPv4 address, a protocol number and two ports, such as 10.0.0.1,17,1024,53,'
    : 'an IPv4 or IPv6 address';

/** What a line of `hash` says; for policy `clusterip` SOURCE,PROTOCOL,SPORT,DPORT. */
function packetOf({ policy }: Hasher, line: string): Address | PacketFields | undefined {
  if (policy !== 'clusterip') return line;
  const [, src, ...numbers] = /^([^,]*),(\d+),(\d+),(\d+)$/.exec(line) ?? [];
  if (src === undefined) return undefined;
  const [protocol, sport, dport] = numbers.map(Number) as [number, number, number];
  return { src, protocol, sport, dport };
}

/** The bucket of what a line says, or undefined where it does not say it. */
export function bucketOfLine(hasher: Hasher, line: string): number | undefined {
  const packet = packetOf(hasher, line);
  return packet === undefined ? undefined : bucketOf(hasher, packet);
}

/** A packet's bucket, or undefined where it is none. */
export function bucketOf(hasher: Hasher, packet: Address | PacketFields): number | undefined {
  try {
    return hasher.bucket(packet);
  } catch (error) {
    if (error instanceof NfqClusterError) return undefined;
    throw error;
  }
}
