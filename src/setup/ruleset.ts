import { keepsBucket } from '../options/conntrack.js';
import { invalidOption } from '../errors.js';
import { ourBits } from '../options/marks.js';
import type { ResolvedOptions } from '../options/types.js';
import { afterClusterip, isClusterip } from './clusterip.js';
import {
  BUCKET,
  bucketRules,
  directRules,
  hasNoBucket,
  needsConntrack,
  whereItLeaves,
} from './connections.js';
import {
  BY_OTHERS,
  byOthers,
  elsewhere,
  FOR_HOST,
  toForHost,
  unicastForHost,
} from './destinations.js';
import {
  firstRules,
  KNOWN,
  knownAddresses,
  knownConnections,
  knownRules,
  namedRules,
  offloadObjects,
  UNCHANGED,
  type Outcomes,
} from './offload.js';
import { NOTHING, ownedLines } from './owned.js';
import { hex, join } from './words.js';

/**
 * What sends packets to the queue: nft's `queue` statement; xtables' NFQUEUE in an nft chain, by nft_compat;
 * or NFQUEUE by these programs.
 */
export type Mechanism =
  | { kind: 'nft' }
  | { kind: 'nft-compat' }
  | {
      kind: 'xtables';
      /** `iptables-nft`, `iptables-legacy` or `iptables`. */
      iptables: string;
      /** Its IPv6 sibling; undefined where the kernel has no IPv6. */
      ip6tables: string | undefined;
    };

/** `queue` while the engine decides; `closed` while it drains: nothing is queued, nothing foreign gets in. */
export type Phase = 'queue' | 'closed';

/*
 * Conntrack is at -200 and mangle, where the user's own xtables rules stand, at -150. By nft, both chains
 * come before mangle, so that the user's rules see a finished packet. By xtables the queue is itself in
 * mangle. An existing chain cannot change its priority, so each way has names of its own.
 */
const NFT_CHAINS = {
  before: { name: 'before-queue', priority: -152 },
  after: { name: 'after-queue', priority: -151 },
} as const;
const CHAINS = {
  nft: NFT_CHAINS,
  'nft-compat': NFT_CHAINS,
  xtables: {
    before: { name: 'before-mangle', priority: -151 },
    after: { name: 'after-mangle', priority: -149 },
  },
} as const;

/** Of the chains of which xtables' queue is a part, those that give packets in multicast frames the pkt_type HOST. */
export const FIX_UP_CHAINS: readonly string[] = [FOR_HOST, CHAINS.xtables.after.name];

/** Just before source NAT, and behind mangle. */
const LEAVING = { name: 'leaving', hook: 'postrouting', priority: 99 } as const;

/** The chain that holds nothing but NFQUEUE, which the text of the table cannot say. */
export const TARGET_CHAIN = 'nfqueue';

/** Neighbour and multicast listener discovery, with the hop limits that these have on their link. */
const DISCOVERY = 'icmpv6 type { 130-137, 143 } ip6 hoplimit { 1, 255 }';

/** The chains without a hook that hold rules in every way to queue. */
export const INNER_CHAINS: readonly string[] = [BY_OTHERS, FOR_HOST, BUCKET, KNOWN];

/** The name of the nft table and of the xtables chain; xtables allows 28 characters. */
export const rulesName = (options: Pick<ResolvedOptions, 'name'>): string =>
  `nfq-cluster-${options.name}`;

/** The name in the options, of a table's. */
export const nameOf = (table: string): string => table.slice(rulesName({ name: '' }).length);

/** All chains with rules: those with a hook, and those that they jump to. */
export const chainsOf = (options: ResolvedOptions, kind: Mechanism['kind']): string[] => [
  ...(kind === 'nft-compat' ? [TARGET_CHAIN] : []),
  ...innerChains(options, kind).map(({ name }) => name),
  CHAINS[kind].before.name,
  ...(isClusterip(options) ? [CHAINS[kind].after.name] : []),
  ...(keepsBucket(options) ? [LEAVING.name] : []),
];

/** Whether a chain of our nft table has rules, be they another mechanism's or of other options. */
export const hasRules = (chain: string): boolean =>
  chain === TARGET_CHAIN || INNER_CHAINS.includes(chain) || isBaseChain(chain);

/** Whether such a chain has a hook. */
export const isBaseChain = (chain: string): boolean =>
  chain === LEAVING.name ||
  Object.values(CHAINS).some(({ before, after }) => before.name === chain || after.name === chain);

/** The chain before the queue, and its priority in prerouting. */
export const chainBefore = (kind: Mechanism['kind']): { name: string; priority: number } =>
  CHAINS[kind].before;

/**
 * The nft table as one transaction that creates it or, where it exists, refills its chains in place:
 * to delete a base chain would drop every packet held for any queue of the namespace.
 * @param owningNothing whether nothing is owned from then on; else the sets of what is owned are left as they are
 * @param indexes those of the interfaces, where they are known: they are compared faster than a name
 * @param vrfs those that the interfaces are in
 */
export function nftTable(
  options: ResolvedOptions,
  kind: Mechanism['kind'],
  phase: Phase,
  {
    owningNothing = false,
    indexes = [],
    vrfs = [],
  }: { owningNothing?: boolean; indexes?: readonly number[]; vrfs?: readonly string[] } = {},
): string {
  const table = tableName(options);
  const { before, after } = CHAINS[kind];
  const filled = [
    { ...before, hook: 'prerouting', rules: beforeRules(options, kind, phase, indexes) },
    ...(isClusterip(options) ? [{ ...after, hook: 'prerouting', rules: afterRules(options) }] : []),
    ...leavingChain(options),
  ];
  return lines([
    `add table ${table}`,
    ...offloadObjects(options, table),
    ...(owningNothing ? ownedLines(options, table, NOTHING.owned, Infinity) : []),
    ...innerChains(options, kind, vrfs).flatMap(({ name, rules }) => [
      `add chain ${table} ${name}`,
      `flush chain ${table} ${name}`,
      ...rules.map((rule) => `add rule ${table} ${name} ${rule}`),
    ]),
    ...(kind === 'nft-compat' ? [`add chain ${table} ${TARGET_CHAIN}`] : []),
    // Else it is not emptied, so that packets are still queued while the table is refilled.
    ...(kind === 'nft-compat' && phase === 'closed'
      ? [`flush chain ${table} ${TARGET_CHAIN}`]
      : []),
    ...filled.flatMap(({ name, hook, priority, rules }) => [
      `add chain ${table} ${name} { type filter hook ${hook} priority ${priority}; policy accept; }`,
      `flush chain ${table} ${name}`,
      ...rules.map((rule) => `add rule ${table} ${name} ${rule}`),
    ]),
  ]);
}

/** The nft table, as nft's commands name it. */
export const tableName = (options: Pick<ResolvedOptions, 'name'>): string =>
  `inet ${rulesName(options)}`;

/**
 * The xtables chain as one transaction for `iptables-restore --noflush`, which empties a chain that it declares.
 * @param jump whether to insert the jump to it as well
 */
export function xtablesChain(options: ResolvedOptions, phase: Phase, jump: boolean): string {
  const chain = rulesName(options);
  const target = xtablesTarget(options, phase);
  const { decided } = options.marks;
  const undecided = `-m mark ! --mark ${hex(decided)}/${hex(decided)}`;
  return lines([
    '*mangle',
    `:${chain} - [0:0]`,
    ...(jump ? [`-I PREROUTING 1 -j ${chain}`] : []),
    ...names(options).flatMap((name) => [
      ...(target === undefined ? [] : [`-A ${chain} -i ${name} ${undecided} -j ${target}`]),
      // A decided packet passes here again; the user's next rule shall see only those of our bits that it needs.
      `-A ${chain} -i ${name} -j MARK --set-xmark 0x0/${hex(decided)}`,
    ]),
    'COMMIT',
  ]);
}

/** Removes the xtables chain and the jumps to it. */
export function xtablesRemoval(name: string, jumps: number): string {
  const unlinked = Array.from({ length: jumps }, () => `-D PREROUTING -j ${name}`);
  return lines(['*mangle', ...unlinked, `-F ${name}`, `-X ${name}`, 'COMMIT']);
}

/** The chains without a hook, except for the one that queues. */
function innerChains(
  options: ResolvedOptions,
  kind: Mechanism['kind'],
  vrfs: readonly string[] = [],
): { name: string; rules: string[] }[] {
  return [
    { name: BY_OTHERS, rules: byOthersRules(options, vrfs) },
    { name: FOR_HOST, rules: forHostRules(options) },
    { name: BUCKET, rules: bucketRules(options) },
    { name: KNOWN, rules: knownRules(options, outcomes(options, kind, true)) },
  ].filter(({ rules }) => rules.length > 0);
}

/** Under action `mark` nothing is ours to drop. */
const byOthersRules = (
  { action, interfaces }: ResolvedOptions,
  vrfs: readonly string[] = [],
): string[] => (action === 'mark' ? [] : byOthers(interfaces, vrfs));

/** For packets in multicast frames; with policy `clusterip` they are fixed behind the queue, depending on the decision. */
const forHostRules = (options: ResolvedOptions): string[] =>
  isClusterip(options)
    ? []
    : [otherInterfaces(options), ...unicastForHost(options.interfaces), ...notedForEngine(options)];

/** A note by which the engine counts them; packets that the kernel decides by itself leave as they came. */
function notedForEngine({ marks, offload, conntrack }: ResolvedOptions): string[] {
  if (offload.length > 0 && conntrack === 'off') return [];
  const queued = offload.length === 0 ? '' : hasNoBucket({ marks });
  return [join('meta pkttype host', queued, setMark(~0, marks.multicast))];
}

function beforeRules(
  options: ResolvedOptions,
  kind: Mechanism['kind'],
  phase: Phase,
  indexes: readonly number[],
): string[] {
  const decided = outcomes(options, kind);
  const passing = outcomes(options, kind, true).owned;
  const hasOthers = byOthersRules(options).length > 0;
  const rules = [
    ...(phase === 'queue' ? firstRules(options, decided, indexes) : []),
    // Here a `goto` costs our own packets nothing.
    otherInterfaces(options, 'iifname', hasOthers ? `goto ${BY_OTHERS}` : 'return'),
    ...(phase === 'queue' ? namedRules(options, decided) : toForHost(options)),
    // What is for an address that is not shared is nobody's to drop.
    ...elsewhere(options.interfaces).map((match) => join(match, passing)),
    ...(phase === 'queue' ? knownConnections(options) : []),
    // Nor are neighbour discovery and multicast groups, where no router passes them on: every node answers for itself.
    ...[
      isClusterip(options) ? 'meta nfproto ipv6' : DISCOVERY,
      'ip protocol igmp ip daddr 224.0.0.0/4',
    ].map((match) => join(match, passing)),
    // They are no node's, whatever their header says; to ask for the state also makes the kernel track.
    ...(needsConntrack(options) ? [join('ct state invalid,untracked', decided.foreign)] : []),
  ];
  if (phase === 'closed')
    return [...rules, options.action === 'mark' ? setMark(~ourBits(options), 0) : 'drop'];
  const all = knownAddresses(options, decided);
  return [...rules, ...(all.length > 0 ? all : queueing(options, kind))];
}

/** What ends the chain before the queue: what the engine is told, and that it is asked. */
const queueing = (options: ResolvedOptions, kind: Mechanism['kind']): string[] => [
  ...(isClusterip(options)
    ? [
        setMark(~ourBits(options), 0),
        join('meta pkttype { broadcast, multicast }', setMark(~0, options.marks.multicast)),
      ]
    : [setMark(~ourBits(options) | options.marks.multicast, 0)]),
  ...directRules(options),
  ...toQueue(options, kind),
];

/** Nothing with xtables: its chain comes behind. */
function toQueue(options: ResolvedOptions, kind: Mechanism['kind']): string[] {
  switch (kind) {
    case 'nft':
      // The older spelling, which every nft takes; the newer one is `queue flags fanout to`.
      return [
        join(`queue num ${queueRange(options, '-')}`, options.queueCpuFanout ? 'fanout' : ''),
      ];
    case 'nft-compat':
      // Nothing passes undecided before the chain has its rule, or without it.
      return [`jump ${TARGET_CHAIN}`, 'drop'];
    case 'xtables':
      return [];
  }
}

/** Behind the queue, under policy `clusterip` alone: elsewhere nothing is left to be done there. */
const afterRules = (options: ResolvedOptions): string[] => [
  otherInterfaces(options),
  ...afterClusterip(options),
  setMark(~ourBits({ ...options, action: 'drop' }), 0),
];

function leavingChain(options: ResolvedOptions): (typeof LEAVING & { rules: string[] })[] {
  if (!keepsBucket(options)) return [];
  // Most that leaves has a bucket since it entered.
  const hasBucket = `ct mark & ${hex(options.marks.bucket)} != 0 return`;
  const rules = [hasBucket, otherInterfaces(options, 'oifname'), whereItLeaves];
  return [{ ...LEAVING, rules }];
}

/**
 * How packets that the kernel decides by itself leave the chain before the queue.
 * @param noted whether they may carry a note for the engine
 */
function outcomes(options: ResolvedOptions, kind: Mechanism['kind'], noted = false): Outcomes {
  const { marks, action } = options;
  // What shall not be queued leaves here; xtables' rule must be told so.
  const decided = kind === 'xtables' ? marks.decided : 0;
  const pass = (set: number): string => join(setMark(~ourBits(options), decided | set), 'return');
  if (action === 'mark') return { owned: pass(marks.owned.value), foreign: pass(0) };
  return { owned: decided !== 0 || noted ? pass(0) : UNCHANGED, foreign: 'drop' };
}

/** Leaves a chain, on other interfaces; a single name is compared faster than it is looked up in a set. */
function otherInterfaces(
  options: ResolvedOptions,
  by: 'iifname' | 'oifname' = 'iifname',
  verdict = 'return',
): string {
  const quoted = names(options).map((name) => `"${name}"`);
  return `${by} != ${quoted.length === 1 ? quoted[0]! : `{ ${quoted.join(', ')} }`} ${verdict}`;
}

function xtablesTarget(options: ResolvedOptions, phase: Phase): string | undefined {
  if (phase === 'closed') return options.action === 'drop' ? 'DROP' : undefined;
  if (options.queues.length === 1) return `NFQUEUE --queue-num ${options.queues[0]!}`;
  return join(
    `NFQUEUE --queue-balance ${queueRange(options, ':')}`,
    options.queueCpuFanout ? '--queue-cpu-fanout' : '',
  );
}

/** Keeps some bits of the mark and sets others; nothing where that changes nothing. */
function setMark(keep: number, set: number): string {
  if (keep === ~0 && set === 0) return '';
  const kept = keep === ~0 ? 'meta mark' : `meta mark & ${hex(keep)}`;
  return `meta mark set ${set === 0 ? kept : `${kept} | ${hex(set)}`}`;
}

function queueRange({ queues }: ResolvedOptions, separator: string): string {
  const first = queues[0]!;
  const last = queues.at(-1)!;
  return first === last ? `${first}` : `${first}${separator}${last}`;
}

/**
 * The interfaces' names. One with a wildcard of nft or xtables, or with a character that their parsers treat
 * specially, would mean something else. So would an equals sign to sysctl, which a cluster MAC needs.
 * @throws NfqClusterError `ERR_INVALID_OPTION`
 */
export function names({ interfaces }: Pick<ResolvedOptions, 'interfaces'>): string[] {
  return interfaces.map(({ name, mac }) => {
    if (mac !== undefined && name.includes('=')) {
      throw invalidOption(
        'interfaces',
        'names without = where there is a cluster MAC, as sysctl cannot set the parameters of others',
        name,
        'Rename the interface.',
      );
    }
    if (/^[\p{L}\p{N}_][\p{L}\p{N}_.@=~%,-]*$/u.test(name)) return name;
    throw invalidOption(
      'interfaces',
      'names of letters, digits and _ . @ = ~ % , - where rules are installed',
      name,
      "Rename the interface, or write the rules yourself and set rules to 'none'.",
    );
  });
}

const lines = (all: readonly string[]): string => `${all.join('\n')}\n`;
