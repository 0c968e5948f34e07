import { NfqClusterError } from '../errors.js';
import type { Address, Hasher, PacketFields } from '../hash.js';

/** What `hash` reads in a line, as a noun phrase. */
export const expectedOf = ({ policy }: Hasher): string =>
  policy === 'clusterip'
    ? 'an IPv4 address, a protocol number and two ports, such as 10.0.0.1,17,1024,53,'
    : 'an IPv4 or IPv6 address';

/** What a line of `hash` says; for policy `clusterip` SOURCE,PROTOCOL,SPORT,DPORT. */
export function packetOf({ policy }: Hasher, line: string): Address | PacketFields {
  if (policy !== 'clusterip') return line;
  const [src, ...numbers] = line.split(',');
  if (numbers.length !== 3 || !numbers.every((number) => /^\d+$/.test(number))) return line;
  const [protocol, sport, dport] = numbers.map(Number) as [number, number, number];
  return { src: src!, protocol, sport, dport };
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
