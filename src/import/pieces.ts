import type { HashMode, MaskedMark, Policy } from '../options/types.js';
import type { ClusteripConfig } from './clusterip.js';
import { freeBits } from './mark.js';
import type { HashRule } from './nft.js';

/** Options for open() and `run --config`, as far as the rules determine them. */
export interface ImportedOptions {
  policy: Policy;
  hashMode?: HashMode;
  /** Missing if a rule is not for particular interfaces: name them yourself. */
  interfaces?: (string | ImportedInterface)[];
  totalNodes?: number;
  buckets?: number;
  hashSeed: number;
  localNode?: number | number[];
  ownership?: { nodes: number[] } | { buckets: number[] };
  /** Only if the rules hash each packet's own address. */
  conntrack?: 'off';
  action: 'drop' | 'mark';
  marks?: { owned: MaskedMark; multicast?: number; decided?: number };
  queues?: number[];
}

type ImportedInterface = { name: string; key: 'destination' } | ({ name: string } & ImportedShared);

interface ImportedShared {
  addresses: string[];
  mac: string;
}

/** How an interface decides. */
interface Way {
  interfaceName: string | undefined;
  key: 'source' | 'destination';
  /** Whether the key is of the packet's connection. */
  tracked: boolean;
  policy: ImportedOptions['policy'];
  hashMode?: ImportedOptions['hashMode'];
  buckets: number;
  hashSeed: number;
  action: 'drop' | 'mark';
  mark?: MaskedMark;
}

/** What one rule says about one interface; undefined: about all. */
export interface Piece extends Way {
  line: number;
  /** Its chain, and what else it matches: rules of one place are read one after another. */
  place: string;
  /** The buckets that it matches. */
  matched: number[];
  /** And what it does with their packets. */
  verdict: 'mark' | 'accept' | 'drop';
  /** That, as it is written. */
  statement: string;
  /** The lines of the rules that drop what it does not mark. */
  drops?: number[];
}

/** What all rules about one interface come to. */
export interface Share extends Way {
  owned: number[];
  /** Of CLUSTERIP. */
  shared?: ImportedShared;
}

export const ofAddress = (address: ClusteripConfig): Share => ({
  interfaceName: address.interfaceName,
  key: 'source',
  tracked: true,
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
  rule.decisions.flatMap(
    ({ interfaces, chain, narrowed, line, matched, verdict, mark, statement }) =>
      (interfaces ?? [undefined]).map((interfaceName) => ({
        ...{ line, matched, verdict, statement, ...(mark === undefined ? {} : { mark }) },
        interfaceName,
        place: JSON.stringify(['nft', chain, rule.family, narrowed]),
        key: rule.key,
        tracked: rule.original,
        policy: 'jhash' as const,
        buckets: rule.buckets,
        hashSeed: rule.hashSeed,
        action: verdict === 'mark' ? ('mark' as const) : ('drop' as const),
      })),
  );

/** The addresses of each interface as one share: parseClusterip() has made sure that they share alike. */
export const withAddresses = (shares: readonly Share[]): Share[] =>
  grouped(shares, ({ interfaceName }) => String(interfaceName)).map((all) => ({
    ...all[0]!,
    ...sharedBy(all),
  }));

/** One configuration for all interfaces that share alike. */
export function combine(shares: readonly Share[]): ImportedOptions[] {
  const groups = grouped(shares, (share) => JSON.stringify([wayOf(share, false), share.owned]));
  return groups.map((group, index) => ({
    ...options(group),
    ...(groups.length > 1 ? { queues: [index] } : {}),
  }));
}

function sharedBy(all: readonly Share[]): Pick<Share, 'shared'> {
  const { mac } = all[0]!.shared ?? {};
  if (mac === undefined) return {};
  return { shared: { addresses: all.flatMap(({ shared }) => shared?.addresses ?? []), mac } };
}

/** What must be the same for rules, or interfaces, to be decided by one engine. */
export const wayOf = (
  { policy, hashMode, buckets, hashSeed, action, mark, tracked, key }: Way,
  withKey = true,
): unknown[] => [policy, hashMode, buckets, hashSeed, action, mark, tracked, withKey ? key : ''];

function options(group: readonly Share[]): ImportedOptions {
  const { policy, hashMode, buckets, hashSeed, owned, action, mark, tracked } = group[0]!;
  // A rule for no one interface holds on more than those that others name.
  const anywhere = group.some(({ interfaceName }) => interfaceName === undefined);
  return {
    policy,
    ...(hashMode === undefined ? {} : { hashMode }),
    ...(anywhere ? {} : { interfaces: group.map(interfaceOf) }),
    ...share(buckets, owned),
    hashSeed,
    ...(tracked ? {} : { conntrack: 'off' }),
    action,
    ...(mark === undefined ? {} : { marks: { owned: mark, ...otherBits(mark) } }),
  };
}

function interfaceOf({ interfaceName, key, shared }: Share): string | ImportedInterface {
  const name = interfaceName!;
  if (shared !== undefined) return { name, ...shared };
  return key === 'source' ? name : { name, key };
}

/** Bits for the engine's own use, where those that it has by default are the rules'. */
function otherBits({ mask }: MaskedMark): { multicast?: number; decided?: number } {
  if ((mask & 0xc000_0000) === 0) return {};
  const [decided, multicast] = freeBits(mask);
  return { multicast: multicast!, decided: decided! };
}

function share(buckets: number, owned: readonly number[]): Partial<ImportedOptions> {
  if (buckets > 32) return { buckets, ownership: { buckets: [...owned] } };
  const nodes = owned.map((bucket) => bucket + 1);
  if (nodes.length === 0) return { totalNodes: buckets, ownership: { nodes } };
  return { totalNodes: buckets, localNode: nodes.length === 1 ? nodes[0]! : nodes };
}

export function grouped<T>(all: readonly T[], keyOf: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of all) {
    const group = groups.get(keyOf(item));
    if (group === undefined) groups.set(keyOf(item), [item]);
    else group.push(item);
  }
  return [...groups.values()];
}
