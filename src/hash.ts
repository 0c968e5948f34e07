import { types } from 'node:util';
import { z } from 'zod';
import { integer, isInteger } from './options/checks.js';
import { invalidOption } from './errors.js';
import { native, type Address, type NativeHasher, type NativePacket } from './native.js';
import type { HashMode, Policy } from './options/types.js';
import { hashingSchema, resolveHashing } from './options/resolve.js';
import { checkTotalNodes } from './options/ownership.js';
import { parse } from './options/parse.js';

export type { Address };

/** The fields of a packet that policy `clusterip` hashes. Every other policy hashes `src` alone. */
export interface PacketFields {
  src: Address;
  /**
   * The IP protocol number, 0 to 255. TCP (6), UDP (17), DCCP (33), ESP (50), AH (51), SCTP (132) and
   * UDP-Lite (136) have ports; for ESP and AH, the two halves of the SPI serve as ports.
   */
  protocol: number;
  /**
   * Source port.
   * @default 0
   */
  sport?: number;
  /**
   * Destination port.
   * @default 0
   */
  dport?: number;
}

export interface HasherOptions {
  /** @default 'jhash' */
  policy?: Policy;
  /**
   * What is hashed of a packet; only for policy `clusterip`.
   * @default 'sourceip'
   */
  hashMode?: HashMode;
  /** 0 to 0xffffffff. */
  hashSeed: number;
  /** The number of nodes, 1 to 32: node n owns bucket n - 1. Exactly one of this and `buckets` is given. */
  totalNodes?: number;
  /** The number of buckets, 1 to 1,023. */
  buckets?: number;
}

/** How an address, or a packet, is assigned its bucket. */
export interface Explanation {
  policy: Policy;
  /** Only with policy `clusterip`. */
  hashMode?: HashMode;
  hashSeed: number;
  /** The IP version of the address. */
  family: 4 | 6;
  /**
   * The 32-bit words that are hashed, as they lie in memory: on a little-endian machine 10.0.0.1 is
   * [0x0100000a]. With policy `clusterip`, the address as a number (0x0a000001), then the ports as they
   * lie in memory.
   */
  words: number[];
  /** 32 bits, unsigned. */
  hash: number;
  /** The number of buckets. */
  buckets: number;
  /** From 0. */
  bucket: number;
}

/**
 * Computes hashes and buckets exactly as an engine does; it needs no privilege. Make one and keep it:
 * its options are checked and converted once.
 */
export class Hasher {
  readonly policy: Policy;
  /** Means something for policy `clusterip` alone. */
  readonly hashMode: HashMode;
  readonly hashSeed: number;
  /** The number of buckets: `totalNodes`, or `buckets`. */
  readonly buckets: number;
  readonly #native: NativeHasher;

  /** @throws NfqClusterError `ERR_INVALID_OPTION` */
  constructor(options: HasherOptions) {
    const given = parse(hasherSchema, options, 'options');
    const { hashSeed, totalNodes, buckets } = given;
    const { policy, hashMode } = resolveHashing(given);
    checkTotalNodes(totalNodes);
    if ((totalNodes === undefined) === (buckets === undefined)) {
      throw invalidOption('totalNodes', 'either totalNodes or buckets', { totalNodes, buckets });
    }
    this.policy = policy;
    this.hashMode = hashMode;
    this.hashSeed = hashSeed;
    this.buckets = totalNodes ?? buckets!;
    this.#native = new native.NativeHasher(this);
  }

  /**
   * The 32-bit hash of an address or, with policy `clusterip`, of a packet; an address alone then counts
   * as a packet without ports.
   * @throws NfqClusterError `ERR_INVALID_OPTION`
   */
  hash(packet: Address | PacketFields): number {
    return this.#checked(this.#hash(packet), packet);
  }

  /** The bucket, from 0: `(hash * buckets) >> 32`. @throws NfqClusterError `ERR_INVALID_OPTION` */
  bucket(packet: Address | PacketFields): number {
    return this.#checked(this.#bucket(packet), packet);
  }

  /** The node, from 1: the bucket plus one. @throws NfqClusterError `ERR_INVALID_OPTION` */
  node(packet: Address | PacketFields): number {
    return this.#checked(this.#bucket(packet), packet) + 1;
  }

  /**
   * The buckets of many IPv4 addresses.
   * @param addresses in host order: 0x0a000001 is 10.0.0.1
   * @param out where the buckets go, at least as long as `addresses`; a new array if not given
   * @returns `out`
   * @throws NfqClusterError `ERR_INVALID_OPTION`
   */
  bucketsIpv4(addresses: Uint32Array, out?: Uint16Array): Uint16Array {
    if (!types.isUint32Array(addresses)) {
      throw invalidOption('addresses', 'a Uint32Array', addresses);
    }
    return this.#native.bucketsIpv4(addresses, fitting(out, addresses.length));
  }

  /**
   * The buckets of many IPv6 addresses. Not for policy `clusterip`.
   * @param addresses records of 16 bytes in network order
   * @param out where the buckets go, with at least one element per record; a new array if not given
   * @returns `out`
   * @throws NfqClusterError `ERR_INVALID_OPTION`
   */
  bucketsIpv6(addresses: Uint8Array, out?: Uint16Array): Uint16Array {
    if (this.policy === 'clusterip') {
      throw invalidOption('addresses', 'nothing', addresses, 'CLUSTERIP has no IPv6.');
    }
    if (!types.isUint8Array(addresses) || addresses.length % 16 !== 0) {
      throw invalidOption('addresses', 'a Uint8Array of whole 16-byte records', addresses);
    }
    return this.#native.bucketsIpv6(addresses, fitting(out, addresses.length / 16));
  }

  /**
   * How many addresses of an IPv4 range fall into each bucket. All 2^32 take seconds, during which the
   * event loop stands still.
   * @param first the first address in host order: 0x0a000000 is 10.0.0.0. Default 0
   * @param count the number of addresses. Default all up to 255.255.255.255
   * @returns one count per bucket
   * @throws NfqClusterError `ERR_INVALID_OPTION`
   */
  countIpv4(first = 0, count?: number): Float64Array {
    if (!Number.isInteger(first) || first < 0 || first >= 2 ** 32) {
      throw invalidOption('first', 'an IPv4 address as a 32-bit number', first);
    }
    const most = 2 ** 32 - first;
    if (count !== undefined && !isInteger(count, 0, most)) {
      throw invalidOption('count', `an integer from 0 to ${most}`, count);
    }
    return this.#native.countIpv4(first, count ?? most);
  }

  #hash(packet: Address | PacketFields): number {
    return isPacket(packet) ? this.#native.hash(...fields(packet)) : this.#native.hash(packet);
  }

  #bucket(packet: Address | PacketFields): number {
    return isPacket(packet) ? this.#native.bucket(...fields(packet)) : this.#native.bucket(packet);
  }

  /** @param result -1 where it is not an address that this policy hashes */
  #checked(result: number, packet: Address | PacketFields): number {
    if (result !== -1) return result;
    const expected =
      this.policy === 'clusterip'
        ? 'an IPv4 address (text, a 32-bit number, or 4 bytes), since CLUSTERIP has no IPv6,'
        : 'an IPv4 or IPv6 address (text, a 32-bit number, or 4 or 16 bytes)';
    throw isPacket(packet)
      ? invalidOption('packet.src', expected, packet.src)
      : invalidOption('address', expected, packet);
  }

  /** How an address, or a packet, is assigned its bucket. @throws NfqClusterError `ERR_INVALID_OPTION` */
  explain(packet: Address | PacketFields): Explanation {
    const hash = this.hash(packet);
    const nativePacket: NativePacket = isPacket(packet) ? fields(packet) : [packet];
    const address = isPacket(packet) ? packet.src : packet;
    const wide =
      typeof address === 'string'
        ? address.includes(':')
        : typeof address !== 'number' && address.length === 16;
    return {
      policy: this.policy,
      ...(this.policy === 'clusterip' ? { hashMode: this.hashMode } : {}),
      hashSeed: this.hashSeed,
      family: wide ? 6 : 4,
      words: this.#native.words(...nativePacket),
      hash,
      buckets: this.buckets,
      bucket: this.bucket(packet),
    };
  }
}

const hasherSchema = z.strictObject(hashingSchema, 'an object of options');

const port = integer(0, 0xffff).optional();
const packetSchema = z.strictObject({
  src: z.custom<Address>(),
  protocol: integer(0, 255),
  sport: port,
  dport: port,
});

const isPacket = (packet: Address | PacketFields | null): packet is PacketFields =>
  typeof packet === 'object' && packet !== null && 'src' in packet;

function fields(packet: PacketFields): NativePacket {
  const { src, protocol, sport, dport } = parse(packetSchema, packet, 'packet');
  return [src, protocol, sport, dport];
}

function fitting(out: Uint16Array | undefined, length: number): Uint16Array {
  if (out === undefined) return new Uint16Array(length);
  if (!types.isUint16Array(out) || out.length < length) {
    throw invalidOption('out', `a Uint16Array of at least ${length}`, out);
  }
  return out;
}
