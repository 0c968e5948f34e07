import type { Command } from 'commander';
import { findConnection } from '../conntrack.js';
import { printed } from '../errors.js';
import type { Address, Explanation, Hasher, PacketFields } from '../hash.js';
import { adjacentBits } from '../options/checks.js';
import { lowered, lowestBit } from '../options/marks.js';
import type { MarkOptions } from '../options/types.js';
import { resolveOptions } from '../options/resolve.js';
import { CommandError, print } from './failure.js';
import { hasherOf } from './hash.js';
import { withHashing, withShare, type Flags } from './flags.js';
import { checkOptions, toOptions, type GivenOptions } from './options.js';
import { bucketOf } from './packet.js';
import { u32 } from './values.js';

interface ExplainFlags extends Flags {
  src: string;
  dst?: string;
  proto?: number;
  sport?: number;
  dport?: number;
  json?: true;
  netns?: string;
  bucketBits?: number;
}

/** An explanation, and what it means for this node; null where that is not known. */
type Explained = { address: string; key?: Found } & Explanation & {
    node: number | null;
    local: boolean | null;
  };

/** What is hashed for a packet, and what told it. */
interface Found {
  address: string;
  by: keyof typeof TOLD;
  /** The bucket that the connmark holds, as conntrack mark and offload decide by it; null if none. */
  kept: number | null;
}

const TOLD = {
  original: "source of its connection's original direction, by ctnetlink",
  master: "source of its master's original direction, by ctnetlink",
  expectation: "source of its master's original direction: a helper expects the connection",
  packet: 'its own source: the kernel knows no such connection, so this would be its first packet',
} as const;

export function addExplain(top: Command): void {
  const explains = top
    .command('explain')
    .description(
      'show how an address or, with --dst, a packet of a connection is assigned its node',
    )
    .requiredOption('--src <address>', 'IPv4 or IPv6 address')
    .option('--dst <address>', "the packet's destination: asks the kernel for its connection")
    .option('--netns <name>', 'with --dst: network namespace, by its name or path');
  withShare(withHashing(explains))
    .option(
      '--proto <number>',
      'IP protocol number, with --dst (mandatory) or policy clusterip',
      u32,
    )
    .option(
      '--sport <port>',
      'source port, with --dst or policy clusterip (for a ping: its id)',
      u32,
    )
    .option('--dport <port>', 'destination port, as --sport (for a ping: type * 256 + code)', u32)
    .option(
      '--bucket-bits <mask>',
      'with --dst: bits of the connmark that hold the bucket (default: 0x03ff0000)',
      u32,
    )
    .option('--json', 'as JSON')
    .action(explain);
}

/** `nfq-cluster explain`: how an address or packet comes to its bucket, its node, and whether that is this one. */
async function explain(flags: ExplainFlags): Promise<void> {
  const options = toOptions(flags);
  const { hasher, classic } = hasherOf(flags, options);
  if (bucketOf(hasher, flags.src) === undefined) {
    const expected = hasher.policy === 'clusterip' ? 'an IPv4' : 'an IPv4 or IPv6';
    throw new CommandError(
      `Expected ${expected} address for --src but received ${printed(flags.src)}`,
      2,
    );
  }
  checkPacket(flags);
  const { dst } = flags;
  const key = dst === undefined ? undefined : await keyOf(hasher, flags, options, dst);
  const packet = key?.address ?? packetOf(hasher, flags);
  const explanation = checkOptions(flags, () => hasher.explain(packet));
  const { bucket } = explanation;
  const owned = ownedBuckets(flags, options);
  const explained = {
    address: flags.src,
    ...(key === undefined ? {} : { key }),
    ...explanation,
    node: classic ? bucket + 1 : null,
    local: owned === undefined ? null : owned.includes(bucket),
  };
  await print(flags.json === true ? `${JSON.stringify(explained)}\n` : asText(explained));
}

/** Refuses what would say nothing, or the wrong thing, of a packet. */
function checkPacket({ dst, proto, netns, bucketBits }: ExplainFlags): void {
  if (dst !== undefined && proto === undefined) {
    throw new CommandError(
      '--dst needs --proto to find the connection: 6 for TCP, 17 for UDP, 1 for ICMP',
      2,
    );
  }
  if (dst === undefined && netns !== undefined) throw new CommandError('--netns needs --dst', 2);
  if (dst === undefined && bucketBits !== undefined)
    throw new CommandError('--bucket-bits needs --dst', 2);
}

/** The kernel's word on a packet's connection. */
async function keyOf(
  hasher: Hasher,
  { src, proto = 0, sport = 0, dport = 0 }: ExplainFlags,
  options: GivenOptions,
  dst: string,
): Promise<Found> {
  if (hasher.policy === 'clusterip') {
    throw new CommandError(
      '--dst is not for --policy clusterip, which hashes each packet by its own header',
      2,
    );
  }
  const { netns, bucketBits } = whereToAsk(hasher, options);
  const found = await findConnection({ src, dst, protocol: proto, sport, dport }, netns);
  if (found === null) return { address: src, by: 'packet', kept: null };
  const { original, master, mark } = found;
  const kept = keptBucket(mark, bucketBits, hasher.buckets);
  if (original === null) return { address: master!.src, by: 'expectation', kept };
  if (master !== null) return { address: master.src, by: 'master', kept };
  return { address: original.src, by: 'original', kept };
}

/** The network namespace, and the bits of the connmark that hold a bucket. */
function whereToAsk(
  { buckets }: Hasher,
  { netns, marks }: GivenOptions,
): { netns: string | undefined; bucketBits: number } {
  const bits = (marks as MarkOptions | undefined)?.bucket ?? 0x03ff_0000;
  if (!adjacentBits.safeParse(bits).success || lowered(bits) < buckets) {
    throw new CommandError(
      `Expected adjacent bits for a number up to ${buckets}, such as 0x03ff0000, for --bucket-bits but received ${printed(bits)}`,
      2,
    );
  }
  return { netns: netns as string | undefined, bucketBits: bits };
}

/** The number in these bits, less 1; null where it is none of the buckets. */
function keptBucket(mark: number, bits: number, buckets: number): number | null {
  const number = ((mark & bits) >>> 0) / lowestBit(bits);
  return number >= 1 && number <= buckets ? number - 1 : null;
}

/** What shall be explained: an address or, for policy `clusterip`, a packet. */
function packetOf(
  hasher: Hasher,
  { src, proto, sport, dport }: ExplainFlags,
): Address | PacketFields {
  const fields = Object.fromEntries(
    Object.entries({ protocol: proto, sport, dport }).filter(([, value]) => value !== undefined),
  );
  if (hasher.policy === 'clusterip') return { src, protocol: 0, ...fields };
  if (Object.keys(fields).length === 0) return src;
  throw new CommandError('--proto, --sport and --dport belong to --dst or --policy clusterip', 2);
}

/** What this node owns, or undefined where nobody said. */
function ownedBuckets(flags: Flags, options: GivenOptions): readonly number[] | undefined {
  const said = ['localNode', 'localNodemask', 'ownership', 'invert'].some(
    (name) => name in options,
  );
  // Interfaces are mandatory only where packets are decided, and marks are refused where nothing uses them.
  const { marks: _marks, ...others } = options;
  const complete = { interfaces: ['any'], ...others };
  return said ? checkOptions(flags, () => resolveOptions(complete).owned) : undefined;
}

function asText({
  address,
  key,
  family,
  policy,
  hashMode,
  words,
  hashSeed,
  hash,
  buckets,
  bucket,
  node,
  local,
}: Explained): string {
  const rows = {
    address: `${address} (IPv${family})`,
    ...(key === undefined ? {} : { key: `${key.address}: ${TOLD[key.by]}` }),
    ...(typeof key?.kept === 'number' ? { connmark: `holds bucket ${key.kept}` } : {}),
    policy: hashMode === undefined ? policy : `${policy}, ${hashMode}`,
    words: words.map(hex).join(' '),
    seed: hex(hashSeed),
    hash: hex(hash),
    bucket: `${bucket} of ${buckets}`,
    node: node === null ? 'none: fine-grained buckets' : `${node}`,
    local: local === null ? 'unknown: no local node was named' : local ? 'yes' : 'no',
  };
  return Object.entries(rows)
    .map(([name, value]) => `${name.padEnd(10)}${value}\n`)
    .join('');
}

const hex = (word: number): string => `0x${word.toString(16).padStart(8, '0')}`;
