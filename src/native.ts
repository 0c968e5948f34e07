import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { Connection, Tuple } from './conntrack.js';
import { NfqClusterError, remedyForLimit, type ErrorCode } from './errors.js';
import type { ResolvedOptions } from './options/types.js';

/** An IP address: text, a number (IPv4, host order: 0x0a000001 is 10.0.0.1), or 4 or 16 bytes in network order. */
export type Address = string | number | Uint8Array;

/** What is hashed: an address and, for policy `clusterip`, protocol number and ports. */
export type NativePacket = [
  address: Address,
  protocol?: number | undefined,
  sourcePort?: number | undefined,
  destinationPort?: number | undefined,
];

export interface NativeHasher {
  /** The hash, or -1 if it is not an address that the policy hashes. */
  hash(...packet: NativePacket): number;
  /** The bucket from 0, or -1 if it is not an address that the policy hashes. */
  bucket(...packet: NativePacket): number;
  /** The words that are hashed, as they lie in memory. */
  words(...packet: NativePacket): number[];
  bucketsIpv4(addresses: Uint32Array, out: Uint16Array): Uint16Array;
  bucketsIpv6(addresses: Uint8Array, out: Uint16Array): Uint16Array;
  countIpv4(first: number, count: number): Float64Array;
}

export interface NativeEngine {
  open(): Promise<void>;
  setOwnership(owned: readonly number[], validForMs: number): Promise<void>;
  /** Milliseconds until nothing is owned; Infinity if that never comes. */
  remaining(): number;
  /** Which way connections are followed, once it is open. */
  connections(): 'off' | 'queue' | 'lookup';
  /** The memory that the queue threads write. Called once. */
  counters(): ArrayBuffer;
  /** Copies the kernel's own counts into the counters. */
  readCounts(): void;
  /** Whether the table has a chain, with rules in it if that is asked; undefined if that cannot be found out. */
  hasChain(name: string, withRules: boolean): boolean | undefined;
  /** Differs for a table that comes in the place of this one; undefined if that cannot be found out. */
  tableHandle(): number | undefined;
  close(deadlineMs: number): Promise<void>;
  ref(): void;
  unref(): void;
}

interface SlotRange {
  offset: number;
  length: number;
}

/** Slots that hold one number each; which is which is defined in native/core/counters.h. */
export type CounterName =
  | 'owned'
  | 'foreign'
  | 'unknown'
  | 'malformed'
  | 'fixups'
  | 'verdictErrors'
  | 'batches'
  | 'receiveErrors'
  | 'queueDropped'
  | 'userDropped'
  | 'receiveBuffer'
  | 'flowHits'
  | 'lookups'
  | 'lookupHits'
  | 'expected'
  | 'lookupTime'
  | 'expectations'
  | 'expectationsLost'
  | 'offloadedOwned'
  | 'offloadedForeign';

interface Layout {
  /** 64-bit slots from one queue thread's to the next one's. */
  stride: number;
  counters: Record<CounterName, number>;
  buckets: SlotRange;
  batchSizes: SlotRange;
  latency: SlotRange;
  latencyLowerBounds: Float64Array;
}

export interface NativeEngineConfig extends Omit<ResolvedOptions, 'netns' | 'realtime'> {
  /** A path, or '' for the process's own namespace. */
  netns: string;
  /** A priority, or 0. */
  realtime: number;
  /** Whether to refuse where the process may not have it. */
  realtimeRequired: boolean;
  /** Whether to listen to the expectations that helpers announce. */
  hearsExpectations: boolean;
  /** Whether rules behind the queue read `marks.multicast` and `marks.bucket`; else these bits are cleared. */
  marksForRules: boolean;
  /** The nft table of the rules, whose counters tell what the kernel decided by itself; '' where there are none. */
  table: string;
}

type NativeHashing = Pick<ResolvedOptions, 'policy' | 'hashMode' | 'hashSeed' | 'buckets'>;

interface Binding {
  NativeHasher: new (hashing: NativeHashing) => NativeHasher;
  NativeEngine: new (
    config: NativeEngineConfig,
    owned: readonly number[],
    validForMs: number,
    onFault: (error: unknown) => void,
  ) => NativeEngine;
  /** Milliseconds on the clock of deadlines (CLOCK_BOOTTIME), which runs on through suspend and is the machine's. */
  now(): number;
  layout: Layout;
  /**
   * Asks ctnetlink for a connection by the tuple of either direction or, failing that, for its expectation.
   * @param netns a path, or ''
   */
  findConnection(netns: string, tuple: Required<Tuple>): Promise<Connection | null>;
  /**
   * In every connmark that has any of these bits, sets them to the connection's bucket plus 1.
   * @param netns a path, or ''
   * @param mask adjacent bits
   */
  renewConnmarks(netns: string, mask: number, hashing: NativeHashing): Promise<void>;
  /**
   * The lock (flock(2)) on a network namespace; undefined while somebody else has it. Who has it calls what it returned.
   * @param netns a path
   */
  lockNetns(netns: string): (() => void) | undefined;
  /**
   * Tries what the kernel supports, on a queue that nothing is sent to; errnos, 0 if it does. `bind`:
   * listening on a queue. `conntrack`: attaching connections to its messages. `target`: NFQUEUE in an nft chain.
   * @throws if no thread can be started
   */
  probeQueue(): { bind: number; conntrack: number; target: number };
  /**
   * Reads files, such as /proc/thread-self/net/dev, as they are in a network namespace: their texts, or errnos.
   * @param netns a path, or ''
   */
  readFiles(netns: string, paths: readonly string[]): Promise<(string | number)[]>;
  /**
   * Writes a text to each of these files, as they are in a network namespace: errnos, 0 if it worked. An empty text is
   * not written: then it only tells whether they can be opened for writing.
   * @param netns a path, or ''
   */
  writeFiles(netns: string, paths: readonly string[], text: string): Promise<number[]>;
  /**
   * Runs a program to its end, in a session of its own, without a fork of this process.
   * @param netns a path, or ''
   * @param args the first is what it is called
   * @param environment of NAME=VALUE
   * @param input what it can read from its standard input, a pipe
   * @returns `signal`: what ended it, or 0
   */
  runProgram(
    netns: string,
    path: string,
    args: readonly string[],
    environment: readonly string[],
    input: string | Uint8Array,
  ): Promise<{ status: number; signal: number; stdout: string; stderr: string }>;
  /**
   * Makes xtables' NFQUEUE the only rule of a chain without a hook, in a table of family inet.
   * @param netns a path, or ''
   */
  setQueueRule(
    netns: string,
    table: string,
    chain: string,
    firstQueue: number,
    queues: number,
    cpuFanout: boolean,
  ): Promise<void>;
}

/** The addon: a prebuilt one if the package holds one for this system, else the one built here. */
export const native = load();

function load(): Binding {
  try {
    const require = createRequire(import.meta.url);
    const nodeGypBuild = require('node-gyp-build') as (directory: string) => Binding;
    return nodeGypBuild(fileURLToPath(new URL('..', import.meta.url)));
  } catch (cause) {
    throw new NfqClusterError('ERR_ADDON', 'The native addon of nfq-cluster cannot be loaded', {
      expected: `an addon built for ${process.platform} ${process.arch}`,
      found: cause instanceof Error ? cause.message.split('\n', 1)[0]! : String(cause),
      remedy: remedyFor(cause),
      cause,
    });
  }
}

function remedyFor(cause: unknown): string {
  const { code, resource } = (cause ?? {}) as NodeJS.ErrnoException & { resource?: string };
  if (code === 'ERR_DLOPEN_DISABLED')
    return 'Start Node.js without --no-addons, and with --allow-addons where it has --permission';
  if (code === 'ERR_ACCESS_DENIED') return `Start Node.js with --allow-fs-read=${resource}`;
  return 'Build it with "npm rebuild nfq-cluster", where npm 12 wants "npm install-scripts approve nfq-cluster" before, or in a checkout with "npm run build"; leave the package out of bundles';
}

interface NativeFault extends Error {
  kind: keyof typeof FAULTS;
  syscall: string;
  errno: number;
}

const FAULTS = {
  privilege: [
    'ERR_PRIVILEGE',
    'Run as root, or give the process CAP_NET_ADMIN (and CAP_SYS_ADMIN to enter a network namespace, CAP_SYS_NICE for realtime)',
  ],
  queueTaken: [
    'ERR_QUEUE_TAKEN',
    'Choose another queue number, or stop the program that listens on it: its port id, often a process id, is in the second column of /proc/net/netfilter/nfnetlink_queue',
  ],
  noNfqueue: [
    'ERR_NO_NFQUEUE',
    'The kernel needs CONFIG_NETFILTER_NETLINK_QUEUE; "modprobe nfnetlink_queue" loads it where it is a module',
  ],
  noConntrack: [
    'ERR_NO_CONNTRACK',
    "Set conntrack to 'auto' or, if the kernel has no ctnetlink either (CONFIG_NF_CT_NETLINK), to 'off'",
  ],
  noInterface: ['ERR_NO_INTERFACE', '"ip link" lists the interfaces of a network namespace'],
  noNetns: ['ERR_NO_NETNS', '"ip netns list" lists the named network namespaces'],
  system: ['ERR_SYSTEM', undefined],
} as const satisfies Record<string, readonly [ErrorCode, string | undefined]>;

/** An error of the addon as this package's error; anything else as it is. */
export function fromNative(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  if (error.message === 'std::bad_alloc')
    return new NfqClusterError('ERR_SYSTEM', 'Not enough memory', {
      remedy: 'Let the process have more memory (ulimit -v), or open fewer queues',
      cause: error,
    });
  if (!('kind' in error)) return error;
  const { kind, syscall, errno, message } = error as NativeFault;
  const [code, remedy] = FAULTS[kind];
  return new NfqClusterError(code, message[0]!.toUpperCase() + message.slice(1), {
    remedy: remedy ?? remedyForLimit(errno, syscall),
    ...(errno === 0 ? {} : { errno, syscall }),
    cause: error,
  });
}
