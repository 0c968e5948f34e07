import { z } from 'zod';
import { invalidOption } from './errors.js';
import { native, type Address, type NativeHasher } from './native.js';
import { hashingSchema, type Policy } from './options.js';
import { parse } from './parse.js';

export type { Address };

export interface HasherOptions {
  /** @default 'jhash' */
  policy?: Policy;
  /** 0 to 0xffffffff. */
  hashSeed: number;
  /** The number of nodes, 1 to 32: node n owns bucket n - 1. Excludes `buckets`. */
  totalNodes?: number;
  /** The number of buckets, 1 to 1,023. */
  buckets?: number;
}

/** How an address comes to its bucket. */
export interface Explanation {
  policy: Policy;
  hashSeed: number;
  family: 4 | 6;
  /** The 32-bit words that are hashed, as they lie in memory: 10.0.0.1 is [0x0100000a] on little-endian. */
  words: number[];
  hash: number;
  buckets: number;
  bucket: number;
}

/**
 * The pure functions behind a decision; they need no privilege. Make one and keep it: its options
 * are checked and converted once.
 */
export class Hasher {
  readonly policy: Policy;
  readonly hashSeed: number;
  /** The number of buckets: `totalNodes`, or `buckets`. */
  readonly buckets: number;
  readonly #native: NativeHasher;

  /** @throws NfqClusterError `ERR_INVALID_OPTION` */
  constructor(options: HasherOptions) {
    const {
      policy = 'jhash',
      hashSeed,
      totalNodes,
      buckets,
    } = parse(hasherSchema, options, 'options');
    if ((totalNodes === undefined) === (buckets === undefined)) {
      throw invalidOption('totalNodes', 'either totalNodes or buckets', { totalNodes, buckets });
    }
    this.policy = policy;
    this.hashSeed = hashSeed;
    this.buckets = totalNodes ?? buckets!;
    this.#native = new native.NativeHasher(this);
  }

  /** The 32-bit hash of an address. @throws NfqClusterError `ERR_INVALID_OPTION` */
  hash(address: Address): number {
    return checked(this.#native.hash(address), address);
  }

  /** The bucket, from 0: `(hash * buckets) >> 32`. @throws NfqClusterError `ERR_INVALID_OPTION` */
  bucket(address: Address): number {
    return checked(this.#native.bucket(address), address);
  }

  /** The node, from 1: the bucket plus one. @throws NfqClusterError `ERR_INVALID_OPTION` */
  node(address: Address): number {
    return checked(this.#native.bucket(address), address) + 1;
  }

  /**
   * The buckets of many IPv4 addresses.
   * @param addresses in host order: 0x0a000001 is 10.0.0.1
   * @param out at least as long; made if not given
   * @throws NfqClusterError `ERR_INVALID_OPTION`
   */
  bucketsIpv4(addresses: Uint32Array, out?: Uint16Array): Uint16Array {
    if (!(addresses instanceof Uint32Array)) {
      throw invalidOption('addresses', 'a Uint32Array', addresses);
    }
    return this.#native.bucketsIpv4(addresses, fitting(out, addresses.length));
  }

  /**
   * The buckets of many IPv6 addresses.
   * @param addresses records of 16 bytes in network order
   * @param out at least as long as there are records; made if not given
   * @throws NfqClusterError `ERR_INVALID_OPTION`
   */
  bucketsIpv6(addresses: Uint8Array, out?: Uint16Array): Uint16Array {
    if (!(addresses instanceof Uint8Array) || addresses.length % 16 !== 0) {
      throw invalidOption('addresses', 'a Uint8Array of whole 16-byte records', addresses);
    }
    return this.#native.bucketsIpv6(addresses, fitting(out, addresses.length / 16));
  }

  /**
   * How many addresses of a range of IPv4 addresses each bucket has. All of them take seconds.
   * @param first in host order: 0x0a000000 is 10.0.0.0
   * @param count up to the last address, 255.255.255.255
   * @returns one number for each bucket
   * @throws NfqClusterError `ERR_INVALID_OPTION`
   */
  countIpv4(first = 0, count = 2 ** 32 - first): Float64Array {
    if (!Number.isInteger(first) || first < 0 || first >= 2 ** 32) {
      throw invalidOption('first', 'an IPv4 address as a 32-bit number', first);
    }
    if (!Number.isInteger(count) || count < 0 || first + count > 2 ** 32) {
      throw invalidOption('count', `an integer from 0 to ${2 ** 32 - first}`, count);
    }
    return this.#native.countIpv4(first, count);
  }

  /** How an address comes to its bucket. @throws NfqClusterError `ERR_INVALID_OPTION` */
  explain(address: Address): Explanation {
    const hash = this.hash(address);
    const wide =
      typeof address === 'string'
        ? address.includes(':')
        : typeof address !== 'number' && address.length === 16;
    return {
      policy: this.policy,
      hashSeed: this.hashSeed,
      family: wide ? 6 : 4,
      words: this.#native.words(address),
      hash,
      buckets: this.buckets,
      bucket: this.bucket(address),
    };
  }
}

const hasherSchema = z.strictObject(hashingSchema, 'an object of options');

function checked(result: number, address: Address): number {
  if (result === -1) {
    throw invalidOption(
      'address',
      'an IPv4 or IPv6 address (text, a 32-bit number, or 4 or 16 bytes)',
      address,
    );
  }
  return result;
}

function fitting(out: Uint16Array | undefined, length: number): Uint16Array {
  if (out === undefined) return new Uint16Array(length);
  if (!(out instanceof Uint16Array) || out.length < length) {
    throw invalidOption('out', `a Uint16Array of at least ${length}`, out);
  }
  return out;
}
