import { isIP } from 'node:net';
import { z } from 'zod';
import { check, integer, namespace } from './options/checks.js';
import type { ConntrackSource } from './options/conntrack.js';
import { fromNative, native, type NativeEngine } from './native.js';
import { netnsPath } from './netns.js';
import type { ResolvedOptions } from './options/types.js';
import { parse } from './options/parse.js';

/** One direction of a connection. */
export interface Tuple {
  /** An IPv4 or IPv6 address, of the same family as `dst`. */
  src: string;
  dst: string;
  /** The IP protocol number, such as 6 for TCP. */
  protocol: number;
  /** The source port; for ICMP, the id. Default 0, as for protocols without ports. */
  sport?: number;
  /** The destination port; for ICMP, type * 256 + code. Default 0. */
  dport?: number;
}

/** A connection as the kernel tracks it. */
export interface Connection {
  /** The direction of its first packet, before NAT; null if a helper only expects the connection. */
  readonly original: Required<Tuple> | null;
  /**
   * The original direction of its master, the connection by which a helper came to expect it; null if it
   * has none.
   */
  readonly master: Required<Tuple> | null;
  /** Its connmark. */
  readonly mark: number;
}

const address = check<string>(
  'an IPv4 or IPv6 address',
  // Node.js takes an address with a zone, such as fe80::1%eth0, which conntrack does not have.
  (value) => typeof value === 'string' && isIP(value) !== 0 && !value.includes('%'),
);
const schema = z
  .strictObject(
    {
      src: address,
      dst: address,
      protocol: integer(0, 255),
      sport: integer(0, 65_535).optional(),
      dport: integer(0, 65_535).optional(),
    },
    'an object with src, dst and protocol',
  )
  .refine(({ src, dst }) => isIP(src) === isIP(dst), 'src and dst of one family');

/**
 * The confirmed connection that a tuple belongs to, in either direction, or else the one that a helper
 * expects; null if the kernel knows neither.
 * @param netns the name or path of a network namespace. Default the process's own
 * @throws NfqClusterError `ERR_INVALID_OPTION`, `ERR_PRIVILEGE`, `ERR_NO_CONNTRACK`, `ERR_NO_NETNS`, `ERR_SYSTEM`
 */
export async function findConnection(tuple: Tuple, netns?: string): Promise<Connection | null> {
  const { sport = 0, dport = 0, ...rest } = parse(schema, tuple, 'tuple');
  const where = parse(namespace.optional(), netns, 'netns');
  try {
    return await native.findConnection(netnsPath(where), { ...rest, sport, dport });
  } catch (error) {
    throw fromNative(error);
  }
}

/** How an engine follows connections, and questions to the kernel about them. */
export class Conntrack {
  readonly source: ConntrackSource;
  /** Why this source was chosen, as text. */
  readonly why: string;
  readonly #netns: string | undefined;

  constructor(
    { conntrack, netns }: Pick<ResolvedOptions, 'conntrack' | 'netns'>,
    connections: ReturnType<NativeEngine['connections']>,
  ) {
    this.#netns = netns;
    if (conntrack === 'auto') {
      this.source = connections === 'queue' ? 'queue' : 'netlink';
      this.why = WHY[this.source];
    } else {
      this.source = conntrack;
      this.why = conntrack === 'off' ? WHY.off : 'asked for';
    }
  }

  /**
   * The original direction of a connection's master; null if it has none, or the kernel does not know the
   * connection.
   * @param tuple of the connection, in either direction
   * @throws NfqClusterError as findConnection()
   */
  async masterOf(tuple: Tuple): Promise<Required<Tuple> | null> {
    return (await findConnection(tuple, this.#netns))?.master ?? null;
  }

  /**
   * The original direction of a connection; null if the kernel does not know it.
   * @param tuple of the connection, in either direction
   * @throws NfqClusterError as findConnection()
   */
  async originalOf(tuple: Tuple): Promise<Required<Tuple> | null> {
    return (await findConnection(tuple, this.#netns))?.original ?? null;
  }
}

const WHY = {
  queue: 'the kernel attaches the connection to queued packets',
  netlink: 'the kernel does not attach the connection to queued packets',
  off: "asked for, or by the policy and the interfaces' keys: the packet's own header is the key",
} as const;
