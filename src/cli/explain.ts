import { printed } from '../errors.js';
import type { Address, Explanation, Hasher, PacketFields } from '../hash.js';
import { resolveOptions } from '../options.js';
import { CommandError, endOnBrokenOutput, print } from './failure.js';
import { hasherOf } from './hash.js';
import type { Flags } from './flags.js';
import { checkOptions, toOptions, type GivenOptions } from './options.js';
import { bucketOf } from './packet.js';

export interface ExplainFlags extends Flags {
  src: string;
  proto?: number;
  sport?: number;
  dport?: number;
  json?: true;
}

/** An explanation, and what it means for this node; null where that is not known. */
type Explained = { address: string } & Explanation & { node: number | null; local: boolean | null };

/** `nfq-cluster explain`: how one address comes to its bucket, its node, and whether that is this one. */
export async function explain(flags: ExplainFlags): Promise<void> {
  const options = toOptions(flags);
  const { hasher, classic } = hasherOf(flags, options);
  const packet = packetOf(hasher, flags);
  if (bucketOf(hasher, flags.src) === undefined) {
    const expected = hasher.policy === 'clusterip' ? 'an IPv4' : 'an IPv4 or IPv6';
    throw new CommandError(
      `Expected ${expected} address for --src but received ${printed(flags.src)}`,
      2,
    );
  }
  const explanation = checkOptions(flags, () => hasher.explain(packet));
  const { bucket } = explanation;
  const owned = ownedBuckets(flags, options);
  const explained = {
    address: flags.src,
    ...explanation,
    node: classic ? bucket + 1 : null,
    local: owned === undefined ? null : owned.includes(bucket),
  };
  endOnBrokenOutput();
  await print(flags.json === true ? `${JSON.stringify(explained)}\n` : asText(explained));
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
  throw new CommandError('--proto, --sport and --dport belong to --policy clusterip', 2);
}

/** What this node owns, or undefined where nobody said. */
function ownedBuckets(flags: Flags, options: GivenOptions): readonly number[] | undefined {
  const said = ['localNode', 'localNodemask', 'ownership', 'invert'].some(
    (name) => name in options,
  );
  // Interfaces are mandatory only where packets are decided.
  const complete = { interfaces: ['any'], ...options };
  return said ? checkOptions(flags, () => resolveOptions(complete).owned) : undefined;
}

function asText({
  address,
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
