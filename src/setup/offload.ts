import type { ResolvedOptions } from '../options.js';
import type { Command } from './exec.js';
import { runOrThrow } from './exec.js';
import { hex, join } from './words.js';

/*
 * What the kernel decides by itself: a connection's bucket is kept in its connmark, that of an address in a
 * map, and the buckets owned are a set, so that a change of ownership is one transaction on one set.
 */

type Options = Pick<
  ResolvedOptions,
  'marks' | 'offload' | 'action' | 'name' | 'netns' | 'conntrack' | 'interfaces'
>;

/** What is owned, and the milliseconds until that ends: Infinity if never, 0 if it is over. */
export interface Owning {
  owned: readonly number[];
  remaining: () => number;
}

/** Named counters of our nft table: packets that the kernel has decided by itself. */
export const OFFLOADED = { owned: 'offloaded-owned', foreign: 'offloaded-foreign' } as const;

/**
 * Matches packets whose own address is the key: that go in their connection's original direction, are no ICMP
 * error, and have no master. Where connections are not followed, it is the key of every packet.
 */
export const directMatch = (options: Pick<Options, 'conntrack'>): string =>
  followsConnections(options)
    ? 'ct direction original ct state new,established ct status & expected == 0'
    : '';

const OWNED = 'owned';
const FAMILIES = [
  { map: 'sources4', type: 'ipv4_addr', source: 'ip saddr', destination: 'ip daddr' },
  { map: 'sources6', type: 'ipv6_addr', source: 'ip6 saddr', destination: 'ip6 daddr' },
] as const;

/** A flood of invented sources fills the maps, and then passes by the queue as without them. */
const MAX_SOURCES = 65_536;
const SOURCE_TIMEOUT = '1m';

/** Whether the engine is to pass foreign packets too, marked `direct`, for the rules to learn the source and drop. */
export const learnsForeign = ({ offload, action }: Pick<Options, 'offload' | 'action'>): boolean =>
  offload.includes('sources') && action === 'drop';

/** What the rules refer to, as lines of the table's transaction. */
export function offloadObjects({ offload }: Options, table: string): string[] {
  if (offload.length === 0) return [];
  return [
    ...Object.values(OFFLOADED).map((counter) => `add counter ${table} ${counter}`),
    `add set ${table} ${OWNED} { type mark; flags timeout; }`,
    ...(offload.includes('sources')
      ? FAMILIES.map(
          ({ map, type }) =>
            `add map ${table} ${map} { type ${type} : mark; flags dynamic,timeout; size ${MAX_SOURCES}; timeout ${SOURCE_TIMEOUT}; }`,
        )
      : []),
  ];
}

/** Forgets the buckets of sources: those of another seed would be others. */
export const forgetSources = ({ offload }: Options, table: string): string[] =>
  offload.includes('sources') ? FAMILIES.map(({ map }) => `flush map ${table} ${map}`) : [];

/** The chain that decides packets whose bucket is known. */
export const KNOWN = 'known';

/** How packets whose bucket is known leave the chain before the queue. */
export interface Outcomes {
  /** The statement for what is owned. */
  owned: string;
  foreign: string;
  /** Matches packets that are left as they are if they are owned; none where `owned` says more than that. */
  clean?: string;
}

/**
 * The first rules before the queue: owned packets of known connections, which most are, by as few comparisons
 * as can be. What they miss comes to the rules behind them: an index may be another interface's by now.
 */
export const ownedFirst = (
  options: Options,
  { owned, clean }: Outcomes,
  indexes: readonly number[],
): string[] =>
  !knowsConnections(options)
    ? []
    : indexes.map((index) =>
        clean === undefined
          ? `iif ${index} ${ofOwned(options)} ${owned}`
          : `iif ${index} ${clean} ${ofOwned(options)} return`,
      );

/** A rule before the queue, ahead of all that a packet of a known connection can be spared. */
export const knownConnections = (options: Options): string[] =>
  knowsConnections(options) ? [`ct mark & ${hex(options.marks.bucket)} != 0 goto ${KNOWN}`] : [];

/** Rules before the queue, for packets that may be decided by their address. */
export function knownSources(options: Options): string[] {
  if (!options.offload.includes('sources')) return [];
  // Only where the whole mark is 0: nft before 1.1.2 cannot set a part of it from a map.
  const fresh = followsConnections(options) ? 'ct state new ct mark 0' : 'meta mark 0';
  return keys(options).map(({ entering, map, address }) =>
    join(entering, fresh, `${markOf(options)} set ${address} map @${map} goto ${KNOWN}`),
  );
}

/** The rules of that chain. */
export const knownRules = (options: Options, { owned, foreign }: Outcomes): string[] =>
  options.offload.length === 0
    ? []
    : [`${ofOwned(options)} ${owned}`, `counter name ${OFFLOADED.foreign} ${foreign}`];

/** Matches owned packets whose bucket is in that mark, and counts them. */
const ofOwned = (options: Options): string =>
  `${markOf(options)} & ${hex(options.marks.bucket)} @${OWNED} counter name ${OFFLOADED.owned}`;

/** The mark that tells a packet's bucket before the queue. */
const markOf = (options: Options): string =>
  followsConnections(options) ? 'ct mark' : 'meta mark';

/** Rules behind the queue. A foreign packet that the engine let by to be learned ends here. */
export function learningRules(options: Options): string[] {
  const { marks, offload } = options;
  if (!offload.includes('sources')) return [];
  const bucket = `meta mark & ${hex(marks.bucket)}`;
  return [
    ...keys(options).map(({ entering, map, address }) =>
      join(entering, directMatch(options), `update @${map} { ${address} : ${bucket} }`),
    ),
    ...(learnsForeign(options)
      ? [`meta mark & ${hex(marks.direct)} == ${hex(marks.direct)} drop`]
      : []),
  ];
}

/** Lines of a transaction that make the set what is owned; the timeouts end before the ownership does. */
export function ownedLines(
  { marks, offload }: Options,
  table: string,
  owned: readonly number[],
  timeout: number,
): string[] {
  if (offload.length === 0) return [];
  const ending = timeout === Infinity ? '' : ` timeout ${Math.floor(timeout)}ms`;
  const lowest = (marks.bucket & -marks.bucket) >>> 0;
  const elements = owned.map((bucket) => `${hex((bucket + 1) * lowest)}${ending}`);
  return [
    `flush set ${table} ${OWNED}`,
    ...(elements.length === 0 || timeout < 1
      ? []
      : [`add element ${table} ${OWNED} { ${elements.join(', ')} }`]),
  ];
}

/** The addresses that are keys, each with its map; the interface is matched where not all have the same key. */
function keys({ interfaces }: Options): { entering: string; map: string; address: string }[] {
  const alike = interfaces.every(({ key }) => key === interfaces[0]!.key);
  return (alike ? interfaces.slice(0, 1) : interfaces).flatMap(({ name, key }) =>
    FAMILIES.map(({ map, ...addresses }) => ({
      entering: alike ? '' : `iifname "${name}"`,
      map,
      address: addresses[key],
    })),
  );
}

/** Whether the kernel decides packets of known connections. */
const knowsConnections = (options: Options): boolean =>
  options.offload.length > 0 && followsConnections(options);

const followsConnections = ({ conntrack }: Pick<Options, 'conntrack'>): boolean =>
  conntrack !== 'off';

/**
 * What the elements' timeouts are short of the ownership, in milliseconds: the kernel counts them from
 * when it takes the transaction, a moment after they were calculated.
 */
export const marginOf = (remaining: number): number => Math.min(MARGIN_MS, remaining / 4);

const MARGIN_MS = 100;

/**
 * Makes the set what is owned, in one transaction; again, where that took longer than the margin.
 * @throws NfqClusterError what `runOrThrow` throws; then the set is as it was
 */
export async function setOwned(options: Options, table: string, owning: Owning): Promise<void> {
  for (let margin = marginOf(owning.remaining()); ; margin *= 2) {
    const remaining = owning.remaining();
    const lines = ownedLines(options, table, owning.owned, remaining - margin);
    const { program, args, input } = transaction(lines);
    await runOrThrow('change what is owned', program, args, { input, netns: options.netns });
    if (remaining === Infinity || remaining <= margin) return;
    if (remaining - owning.remaining() <= margin) return;
  }
}

const transaction = (lines: readonly string[]): Command & { input: string } => ({
  program: 'nft',
  args: ['-f', '-'],
  input: `${lines.join('\n')}\n`,
});
