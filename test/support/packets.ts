/*
 * Link-layer frames as they go over a wire, with right lengths and checksums:
 * `udp({ src: '10.0.0.1', dst: '10.1.0.2', dport: 53 })`. The family follows from the addresses.
 */
import { NODE, SENDER } from './wire.js';

/** What every frame can be told; the MACs are those of a wire's two ends by default. */
export interface Ends {
  src: string;
  dst: string;
  ethSrc?: string;
  ethDst?: string;
  /** IPv4's time to live, IPv6's hop limit. @default 64 */
  ttl?: number;
}

export interface Ports extends Ends {
  /** @default 1024 */
  sport?: number;
  /** @default 9 */
  dport?: number;
  /** @default empty */
  payload?: string | Buffer;
}

type TcpFlag = 'fin' | 'syn' | 'rst' | 'psh' | 'ack';

export interface Segment extends Ports {
  /** @default ['syn'] */
  flags?: readonly TcpFlag[];
  seq?: number;
  ack?: number;
}

const ETHERTYPE = { 4: 0x0800, 6: 0x86dd } as const;
const PROTOCOL = { icmp: 1, tcp: 6, udp: 17, fragment: 44, icmpv6: 58, sctp: 132 } as const;
const FLAG: Record<TcpFlag, number> = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16 };
const ETHERNET_HEADER = 14;
const IPV4_HEADER = 20;
const IPV6_HEADER = 40;

export function udp({ sport = 1024, dport = 9, payload = '', ...ends }: Ports): Buffer {
  const data = Buffer.from(payload);
  const datagram = Buffer.concat([u16(sport, dport, 8 + data.length, 0), data]);
  return ip(ends, PROTOCOL.udp, withChecksum(datagram, 6, ends, PROTOCOL.udp));
}

export function tcp({
  sport = 1024,
  dport = 9,
  payload = '',
  flags = ['syn'],
  seq = 1,
  ack = 0,
  ...ends
}: Segment): Buffer {
  const bits = flags.reduce((all, flag) => all | FLAG[flag], 0);
  const header = Buffer.concat([
    u16(sport, dport),
    u32(seq, ack),
    u16((5 << 12) | bits, 0xffff, 0, 0),
  ]);
  const segment = Buffer.concat([header, Buffer.from(payload)]);
  return ip(ends, PROTOCOL.tcp, withChecksum(segment, 16, ends, PROTOCOL.tcp));
}

/** The first packet of an SCTP association, whose tag is `tag`, or the answer to it. */
export function sctp({
  sport = 1024,
  dport = 9,
  kind,
  tag = 1,
  ...ends
}: Ports & { kind: 'init' | 'init ack'; tag?: number }): Buffer {
  const [type, verification] = kind === 'init' ? [1, 0] : [2, tag];
  const chunk = Buffer.concat([u16(type << 8, 20), u32(tag, 0xffff), u16(1, 1), u32(1)]);
  const packet = Buffer.concat([u16(sport, dport), u32(verification, 0), chunk]);
  packet.writeUInt32LE(crc32c(packet), 8);
  return ip(ends, PROTOCOL.sctp, packet);
}

/** An echo request. */
export function ping({ id = 1, seq = 1, ...ends }: Ends & { id?: number; seq?: number }): Buffer {
  return icmp(ends, { 4: [8, 0], 6: [128, 0] }, Buffer.concat([u16(id, seq), Buffer.from('ping')]));
}

/** "Port unreachable", or another error, about a frame that was sent before; `src` is who says so. */
export function unreachable(
  about: Buffer,
  ends: Ends,
  kinds: { 4: Kind; 6: Kind } = { 4: [3, 3], 6: [1, 4] },
): Buffer {
  const packet = about.subarray(ETHERNET_HEADER, ETHERNET_HEADER + 548);
  return icmp(ends, kinds, Buffer.concat([u32(0), packet]));
}

/** The frame's packet in fragments whose payload is at most `size` bytes, a multiple of 8. */
export function fragments(frame: Buffer, size: number, id = 1): Buffer[] {
  const ethernet = frame.subarray(0, ETHERNET_HEADER);
  const packet = frame.subarray(ETHERNET_HEADER);
  const ipv4 = packet[0]! >> 4 === 4;
  const headerLength = ipv4 ? IPV4_HEADER : IPV6_HEADER;
  const header = packet.subarray(0, headerLength);
  const payload = packet.subarray(headerLength);
  const count = Math.ceil(payload.length / size);
  return Array.from({ length: count }, (_, index) => {
    const part = payload.subarray(index * size, (index + 1) * size);
    const where = { id, offset: index * size, more: index + 1 < count };
    return Buffer.concat([ethernet, (ipv4 ? ipv4Fragment : ipv6Fragment)(header, part, where)]);
  });
}

/** An IPv4 frame with bytes of no operation behind its header; `length` is a multiple of 4. */
export function withOptions(frame: Buffer, length: number): Buffer {
  const packet = frame.subarray(ETHERNET_HEADER);
  const header = Buffer.concat([packet.subarray(0, IPV4_HEADER), Buffer.alloc(length, 1)]);
  header[0] = 0x45 + length / 4;
  header.writeUInt16BE(packet.length + length, 2);
  const ethernetHeader = frame.subarray(0, ETHERNET_HEADER);
  return Buffer.concat([ethernetHeader, sealed(header), packet.subarray(IPV4_HEADER)]);
}

/** A packet of any protocol around any payload, right or wrong. */
export function ip(ends: Ends, protocol: number, payload: Buffer): Buffer {
  const source = bytes(ends.src);
  const destination = bytes(ends.dst);
  const family = source.length === 4 ? 4 : 6;
  const { ttl = 64 } = ends;
  const header =
    family === 4
      ? ipv4Header(source, destination, { protocol, ttl }, payload.length)
      : Buffer.concat([
          u32(6 << 28),
          u16(payload.length, (protocol << 8) | ttl),
          source,
          destination,
        ]);
  return ethernet(ends, ETHERTYPE[family], Buffer.concat([header, payload]));
}

/** A frame around anything. */
export function ethernet(
  { ethSrc = SENDER.mac, ethDst = NODE.mac }: Partial<Ends>,
  type: number,
  payload: Buffer,
): Buffer {
  const mac = (text: string): Buffer => Buffer.from(text.replaceAll(':', ''), 'hex');
  return Buffer.concat([mac(ethDst), mac(ethSrc), u16(type), payload]);
}

/** An address in network order: 4 or 16 bytes. */
export function bytes(address: string): Buffer {
  if (!address.includes(':')) return Buffer.from(address.split('.').map(Number));
  const [head = [], tail = []] = address
    .split('::')
    .map((half) => (half === '' ? [] : half.split(':')));
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => '0');
  return u16(...[...head, ...zeros, ...tail].map((group) => parseInt(group, 16)));
}

type Kind = readonly [type: number, code: number];

/** An ICMP or ICMPv6 message, as the addresses say; `rest` is what follows the checksum. */
export function icmp(ends: Ends, kinds: { 4: Kind; 6: Kind }, rest: Buffer): Buffer {
  const ipv4 = !ends.src.includes(':');
  const [type, code] = kinds[ipv4 ? 4 : 6];
  const message = Buffer.concat([u16((type << 8) | code, 0), rest]);
  if (!ipv4) return ip(ends, PROTOCOL.icmpv6, withChecksum(message, 2, ends, PROTOCOL.icmpv6));
  message.writeUInt16BE(checksum(message), 2);
  return ip(ends, PROTOCOL.icmp, message);
}

function ipv4Header(
  source: Buffer,
  destination: Buffer,
  { protocol, ttl }: { protocol: number; ttl: number },
  length: number,
): Buffer {
  const words = u16(0x4500, IPV4_HEADER + length, 0, 0, (ttl << 8) | protocol, 0);
  return sealed(Buffer.concat([words, source, destination]));
}

/** An IPv4 header with its checksum. */
function sealed(header: Buffer): Buffer {
  header.writeUInt16BE(0, 10);
  header.writeUInt16BE(checksum(header), 10);
  return header;
}

interface Place {
  id: number;
  /** Bytes. */
  offset: number;
  more: boolean;
}

function ipv4Fragment(header: Buffer, part: Buffer, { id, offset, more }: Place): Buffer {
  const own = Buffer.from(header);
  u16(IPV4_HEADER + part.length, id, (more ? 0x2000 : 0) | (offset / 8)).copy(own, 2);
  return Buffer.concat([sealed(own), part]);
}

function ipv6Fragment(header: Buffer, part: Buffer, { id, offset, more }: Place): Buffer {
  const own = Buffer.from(header);
  own.writeUInt16BE(8 + part.length, 4);
  own[6] = PROTOCOL.fragment;
  return Buffer.concat([own, u16(header[6]! << 8, offset | (more ? 1 : 0)), u32(id), part]);
}

/** Fills in the checksum at `at`, which covers a pseudo-header of the addresses, too. */
function withChecksum(message: Buffer, at: number, { src, dst }: Ends, protocol: number): Buffer {
  const sum = checksum(
    Buffer.concat([bytes(src), bytes(dst), u32(message.length, protocol), message]),
  );
  message.writeUInt16BE(protocol === PROTOCOL.udp && sum === 0 ? 0xffff : sum, at);
  return message;
}

/** RFC 1071. */
export function checksum(data: Buffer): number {
  let sum = 0;
  for (let at = 0; at < data.length; at += 2) sum += (data[at]! << 8) | (data[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x1_0000);
  return ~sum & 0xffff;
}

/** RFC 3309. */
function crc32c(data: Buffer): number {
  let crc = 0xffff_ffff;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f6_3b78 : 0);
  }
  return ~crc >>> 0;
}

function u16(...values: readonly number[]): Buffer {
  const buffer = Buffer.alloc(2 * values.length);
  values.forEach((value, index) => buffer.writeUInt16BE(value, 2 * index));
  return buffer;
}

function u32(...values: readonly number[]): Buffer {
  const buffer = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => buffer.writeUInt32BE(value >>> 0, 4 * index));
  return buffer;
}
