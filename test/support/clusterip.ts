/*
 * Packets that CLUSTERIP treats in ways of its own, and who is to get them: for the engine everywhere, and
 * for the original too where a kernel still has it.
 */
import { CLUSTER_MAC, NODE } from './wire.js';
import { fragments, ip, ping, tcp, udp, withOptions } from './packets.js';

/** By source and both ports, of 7 nodes, with hash-init 0. */
export const CLUSTER = {
  hashMode: 'sourceip-sourceport-destport',
  totalNodes: 7,
  hashSeed: 0,
} as const;

export const SOURCE = '198.51.100.77';
/** SOURCE's node with the ports 1111 and 2222, and without ports. */
const WITH_PORTS = 2;
const WITHOUT = 7;

/** A destination that is not tracked, by the rules of the test. */
export const UNTRACKED_PORT = 7777;

interface Case {
  title: string;
  frames: Buffer[];
  /** Its node; undefined where every node drops it. */
  node: number | undefined;
}

const ends = { src: SOURCE, dst: NODE.ipv4 };
const ports = { ...ends, sport: 1111, dport: 2222 };
/** The ports 1111 and 2222, and more. */
const payload = Buffer.from('045708ae00000001aabbccdd00112233', 'hex');

const accepted = (title: string, node: number, ...frames: Buffer[]): Case => ({
  title,
  node,
  frames,
});
const dropped = (title: string, frame: Buffer): Case => ({
  title,
  node: undefined,
  frames: [frame],
});

export const CASES: readonly Case[] = [
  accepted('a new UDP flow', WITH_PORTS, udp(ports)),
  accepted('in a multicast frame', WITH_PORTS, udp({ ...ports, ethDst: CLUSTER_MAC })),
  accepted('in a broadcast frame', WITH_PORTS, udp({ ...ports, ethDst: 'ff:ff:ff:ff:ff:ff' })),
  accepted('behind 8 bytes of IP options', WITH_PORTS, withOptions(udp(ports), 8)),
  accepted('behind 40 bytes of IP options', WITH_PORTS, withOptions(udp(ports), 40)),
  accepted(
    'in 2 fragments',
    WITH_PORTS,
    ...fragments(udp({ ...ports, payload: 'x'.repeat(40) }), 24),
  ),
  ...[0, 2, 3, 4, 8].map((length) =>
    accepted(
      `ESP of ${length} bytes`,
      length < 4 ? WITHOUT : WITH_PORTS,
      ip(ends, 50, payload.subarray(0, length)),
    ),
  ),
  ...[4, 7, 8, 12].map((length) =>
    accepted(
      `AH of ${length} bytes`,
      length < 8 ? WITHOUT : WITH_PORTS,
      ip(ends, 51, Buffer.concat([Buffer.from('06040000', 'hex'), payload]).subarray(0, length)),
    ),
  ),
  ...[4, 41, 46, 94, 103, 112, 115, 253].map((protocol) =>
    accepted(`protocol ${protocol}`, WITHOUT, ip(ends, protocol, payload)),
  ),
  accepted('ICMP echo', WITHOUT, ping({ ...ends, id: 1111, seq: 2222 })),
  dropped('INVALID: SYN and FIN', tcp({ ...ports, flags: ['syn', 'fin'] })),
  dropped('INVALID: wrong checksum', spoilt(udp({ ...ports, payload: 'x' }))),
  dropped('INVALID: UDP of 6 bytes', ip(ends, 17, payload.subarray(0, 6))),
  dropped('untracked', udp({ ...ports, dport: UNTRACKED_PORT })),
];

/** A frame whose last byte went wrong on its way. */
function spoilt(frame: Buffer): Buffer {
  const copy = Buffer.from(frame);
  copy[copy.length - 1]! ^= 0xff;
  return copy;
}
