/* ARP and IPv6 neighbour discovery, as frames to send and as frames that were seen. */
import { bytes, checksum, ethernet, icmp } from './packets.js';
import { SENDER } from './wire.js';

const ARP = 0x0806;
const IPV6 = 0x86dd;
const ICMPV6 = 58;

/** Who has this IPv4 address? */
export function arpRequest(target: string): Buffer {
  const payload = Buffer.concat([
    Buffer.from('0001080006040001', 'hex'),
    hardware(SENDER.mac),
    bytes(SENDER.ipv4),
    hardware('00:00:00:00:00:00'),
    bytes(target),
  ]);
  return ethernet({ ethDst: 'ff:ff:ff:ff:ff:ff' }, ARP, payload);
}

/** Who has this IPv6 address, asked of its solicited-node group. */
export function solicitation(target: string): Buffer {
  const address = bytes(target);
  const low = address.subarray(13).toString('hex').match(/../g)!;
  const group = `ff02::1:ff${low[0]}:${low[1]!}${low[2]!}`;
  const ends = { src: SENDER.ipv6, dst: group, ethDst: `33:33:ff:${low.join(':')}` };
  const option = Buffer.concat([Buffer.from([1, 1]), hardware(SENDER.mac)]);
  const rest = Buffer.concat([Buffer.alloc(4), address, option]);
  const frame = icmp(ends, { 4: [0, 0], 6: [135, 0] }, rest);
  frame[14 + 7] = 255; // the hop limit, which says that no router was between
  return frame;
}

/** What a frame says of an address's MAC. */
export interface Told {
  what: 'request' | 'reply' | 'solicitation' | 'advertisement';
  /** The address, in hexadecimal. */
  address: string;
  /** As the payload says it. */
  mac: string;
  /** The frame's own source. */
  from: string;
  /** Whether the checksum is right; ARP has none. */
  right: boolean;
}

/** What ARP and neighbour discovery in a frame tell, or undefined where it is neither or tells no MAC. */
export function told(frame: Buffer): Told | undefined {
  const from = mac(frame.subarray(6, 12));
  const type = frame.readUInt16BE(12);
  if (type === ARP) {
    const what = frame.readUInt16BE(20) === 1 ? 'request' : 'reply';
    const address = frame.subarray(28, 32).toString('hex');
    return { what, address, mac: mac(frame.subarray(22, 28)), from, right: true };
  }
  if (type !== IPV6 || frame[20] !== ICMPV6) return undefined;
  const message = frame.subarray(54, 54 + frame.readUInt16BE(18));
  const kind = message[0];
  if ((kind !== 135 && kind !== 136) || message.length < 32) return undefined;
  const target = kind === 136 ? message.subarray(8, 24) : frame.subarray(22, 38);
  return {
    what: kind === 136 ? 'advertisement' : 'solicitation',
    address: target.toString('hex'),
    mac: mac(message.subarray(26, 32)),
    from,
    right: frame[21] === 255 && isRight(frame, message),
  };
}

function isRight(frame: Buffer, message: Buffer): boolean {
  const pseudo = Buffer.alloc(40);
  frame.copy(pseudo, 0, 22, 54);
  pseudo.writeUInt32BE(message.length, 32);
  pseudo[39] = ICMPV6;
  return checksum(Buffer.concat([pseudo, message])) === 0;
}

const hardware = (text: string): Buffer => Buffer.from(text.replaceAll(':', ''), 'hex');
const mac = (octets: Buffer): string => octets.toString('hex').match(/../g)!.join(':');
