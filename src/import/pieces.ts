import type { MaskedMark, Policy } from '../options.js';
import { type HASH_MODES, type ClusterAddress } from './clusterip.js';
import type { ClusterMatch } from './cluster.js';
import type { HashRule } from './nft.js';

/** Options for `open()` and `run --config`, as far as rules tell them. */
export interface ImportedOptions {
  policy: Policy;
  hashMode?: (typeof HASH_MODES)[number];
  /** Left out where no rule named one. */
  interfaces?: (string | ImportedInterface)[];
  totalNodes?: number;
  buckets?: number;
  hashSeed: number;
  localNode?: number | number[];
  ownership?: { nodes: number[] } | { buckets: number[] };
  action: 'drop' | 'mark';
  marks?: { owned: MaskedMark; multicast?: number; decided?: number };
  queues?: number[];
}

export type ImportedInterface =
  { name: string; key: 'destination' } | ({ name: string } & ImportedShared);

interface ImportedShared {
  addresses: string[];
  mac: string;
}

/** What one rule says about one interface; undefined: about all. */
export interface Piece {
  line: number;
  interfaceName: string | undefined;
  key: 'source' | 'destination';
  policy: ImportedOptions['policy'];
  hashMode?: ImportedOptions['hashMode'];
  buckets: number;
  hashSeed: number;
  owned: number[];
  action: 'drop' | 'mark';
  mark?: MaskedMark;
  /** Of CLUSTERIP. */
  shared?: ImportedShared;
}

export const ofCluster = (
  line: number,
  interfaceName: string | undefined,
  match: ClusterMatch,
  outcome: Pick<Piece, 'action' | 'mark' | 'owned'>,
): Piece => ({
  line,
  interfaceName,
  key: 'source',
  policy: 'xt_cluster',
  buckets: match.totalNodes,
  hashSeed: match.hashSeed,
  ...outcome,
});

export const ofAddress = (line: number, address: ClusterAddress): Piece => ({
  line,
  interfaceName: address.interfaceName,
  key: 'source',
  policy: 'clusterip',
  hashMode: address.hashMode,
  // As the original, which gives every packet to node 1 of no nodes.
  buckets: Math.max(1, address.totalNodes),
  hashSeed: address.hashSeed,
  owned: [address.localNode - 1].filter((bucket) => bucket < Math.max(1, address.totalNodes)),
  action: 'drop',
  shared: { addresses: [`${address.address}/32`], mac: address.mac },
});

export const ofHash = (rule: HashRule): Piece[] =>
  (rule.interfaces ?? [undefined]).map((interfaceName) => ({
    line: rule.line,
    interfaceName,
    key: rule.key,
    policy: 'jhash',
    buckets: rule.buckets,
    hashSeed: rule.hashSeed,
    owned: [...new Set(rule.owned)].filter((bucket) => bucket >= 0 && bucket < rule.buckets),
    action: rule.effect,
  }));

/**
 * One configuration for all interfaces of which the rules say the same. Several rules about one interface add
 * up: each lets its own part in.
 */
export function combine(pieces: readonly Piece[]): ImportedOptions[] {
  const perInterface = grouped(pieces, (piece) =>
    JSON.stringify([sameness(piece), piece.interfaceName]),
  );
  const merged = perInterface.map((all): Piece => ({
    ...all[0]!,
    owned: [...new Set(all.flatMap(({ owned }) => owned))].sort((a, b) => a - b),
    ...sharedBy(all),
  }));
  const groups = grouped(merged, (piece) => JSON.stringify([sameness(piece, false), piece.owned]));
  return groups.map((group, index) => ({
    ...options(group),
    ...(groups.length > 1 ? { queues: [index] } : {}),
  }));
}

function sharedBy(all: readonly Piece[]): Pick<Piece, 'shared'> {
  const { mac } = all[0]!.shared ?? {};
  if (mac === undefined) return {};
  return { shared: { addresses: all.flatMap(({ shared }) => shared?.addresses ?? []), mac } };
}

const sameness = (
  { policy, hashMode, buckets, hashSeed, action, mark, key }: Piece,
  withKey = true,
) => [policy, hashMode, buckets, hashSeed, action, mark, withKey ? key : ''];

function options(group: readonly Piece[]): ImportedOptions {
  const { policy, hashMode, buckets, hashSeed, owned, action, mark } = group[0]!;
  const named = group.flatMap(interfaceOf);
  return {
    policy,
    ...(hashMode === undefined ? {} : { hashMode }),
    ...(named.length === 0 ? {} : { interfaces: named }),
    ...share(buckets, owned),
    hashSeed,
    action,
    ...(mark === undefined ? {} : { marks: { owned: mark, ...otherBits(mark) } }),
  };
}

function interfaceOf({ interfaceName: name, key, shared }: Piece): (string | ImportedInterface)[] {
  if (name === undefined) return [];
  if (shared !== undefined) return [{ name, ...shared }];
  return [key === 'source' ? name : { name, key }];
}

/** Bits for the engine's own use, where those that it has by default are the rules'. */
function otherBits({ mask }: MaskedMark): { multicast?: number; decided?: number } {
  if ((mask & 0xc000_0000) === 0) return {};
  const [decided, multicast] = freeBits(mask);
  return { multicast: multicast!, decided: decided! };
}

/** The highest first. */
export const freeBits = (mask: number): number[] =>
  Array.from({ length: 32 }, (_, bit) => 2 ** (31 - bit)).filter((bit) => (mask & bit) === 0);

function share(buckets: number, owned: readonly number[]): Partial<ImportedOptions> {
  if (buckets > 32) return { buckets, ownership: { buckets: [...owned] } };
  const nodes = owned.map((bucket) => bucket + 1);
  if (nodes.length === 0) return { totalNodes: buckets, ownership: { nodes } };
  return { totalNodes: buckets, localNode: nodes.length === 1 ? nodes[0]! : nodes };
}

function grouped<T>(all: readonly T[], keyOf: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of all) {
    const group = groups.get(keyOf(item));
    if (group === undefined) groups.set(keyOf(item), [item]);
    else group.push(item);
  }
  return [...groups.values()];
}
