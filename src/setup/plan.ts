import type { ResolvedOptions } from '../options/types.js';
import {
  asText,
  commandOf,
  isInPlace,
  isOfSame,
  isSame,
  purposeOf,
  wantedChanges,
  type Change,
  type Wanted,
} from './changes.js';
import type { Command } from './exec.js';
import type { Facts } from './facts.js';
import { isMadeOf, isMarker, markersOf, parseMarkers, UNDO } from './markers.js';
import { queueRuleCommand } from './queue-rule.js';
import { arpTable, discoveryChain, hasNeighbours } from './neighbours.js';
import { optionsLines } from './remembered.js';
import { toUndo, undoing } from './removal.js';
import {
  chainsOf,
  hasRules,
  isBaseChain,
  nftTable,
  rulesName,
  xtablesChain,
  xtablesRemoval,
  type Mechanism,
  type Phase,
} from './ruleset.js';
import { nft, NFT_ARGS, restore, restoring, step, type Step } from './step.js';
import { madeMangle, type Traces, type XtablesTraces } from './traces.js';

/**
 * The steps that set a node up, or change what an earlier run of the same name left, without a moment in
 * which a foreign packet gets in, or the node announces its own MAC for a cluster address.
 * @param run of the engine with which the setup ends; undefined if it is to stand until it is reverted
 * @param owningNothing whether the kernel owns nothing from then on, even if the options are the same
 * @returns the steps, and what they leave to be undone one day
 */
export function installation(
  options: ResolvedOptions,
  mechanism: Mechanism,
  facts: Facts,
  run: string | undefined,
  owningNothing = false,
): { steps: Step[]; journal: readonly Change[] } {
  const { wanted, obsolete, inPlace, journal } = changesFrom(options, facts);
  const steps = [
    ...undoing(obsolete, facts),
    ...rules(options, mechanism, facts, run, journal, owningNothing),
    ...wanted.map(({ change, why }) => doing(change, why, inPlace(change), journal)),
  ];
  return { steps, journal };
}

interface Changes {
  wanted: readonly Wanted[];
  obsolete: readonly Change[];
  inPlace: (change: Change) => boolean;
  journal: readonly Change[];
}

function changesFrom(options: ResolvedOptions, facts: Facts): Changes {
  const wanted = wantedChanges(options, facts);
  const obsolete = facts.journal.filter(
    (change) => !wanted.some((other) => isSame(other.change, change)),
  );
  const undone = toUndo(obsolete, facts);
  const inPlace = (change: Change): boolean =>
    isInPlace(change, facts) && !undone.some((gone) => isOfSame(gone, change));
  return { wanted, obsolete, inPlace, journal: nextJournal(wanted, facts, inPlace) };
}

/** The steps that leave a standing setup's rules without an engine: nothing is owned, and what it queues is dropped. */
export const leaving = (options: ResolvedOptions, mechanism: Mechanism, facts: Facts): Step[] =>
  rules(options, mechanism, facts, undefined, facts.journal, true);

/** The rules of a setup that queues, as transactions that make them where there are none. */
export function rulesOf(
  options: ResolvedOptions,
  mechanism: Mechanism,
  facts: Facts,
): { nft: string; arp: boolean; xtables: { program: string; input: string }[] } {
  return {
    nft:
      nftTable(options, mechanism.kind, 'queue', entering(options, facts)) +
      neighbours(options, facts),
    arp: options.interfaces.some(({ mac }) => mac !== undefined),
    xtables: xtablesUsed(mechanism, facts.traces).map(({ program }) => ({
      program,
      input: xtablesChain(options, 'queue', true),
    })),
  };
}

/** The transactions after which nothing is queued, while foreign packets still stay outside. */
export function closing(
  options: ResolvedOptions,
  mechanism: Mechanism,
  facts: Pick<Facts, 'traces' | 'interfaces'>,
): Step[] {
  const { traces } = facts;
  const { vrfs } = entering(options, facts);
  const phase: Phase = 'closed';
  const used = xtablesUsed(mechanism, traces).filter(({ chain }) => chain);
  const table =
    traces.nftChains === undefined
      ? []
      : [
          nft(
            'stop queueing by nft',
            nftTable(options, mechanism.kind, phase, { owningNothing: true, vrfs }),
          ),
        ];
  return [
    ...table,
    ...used.map((variant) =>
      restore('stop queueing by', variant, xtablesChain(options, phase, false)),
    ),
  ];
}

/**
 * What has to be undone one day. What was so before any setup is not ours to undo; what another setup changed is,
 * as the last one that needs it undoes it.
 */
function nextJournal(
  wanted: readonly Wanted[],
  { journal, others }: Facts,
  inPlace: (change: Change) => boolean,
): Change[] {
  return wanted.flatMap(({ change }) => {
    const ours = journal.find((entry) => isSame(entry, change));
    if (ours !== undefined) return [ours];
    return inPlace(change) ? (others.find((entry) => isOfSame(entry, change)) ?? []) : [change];
  });
}

function doing(change: Change, why: string, inPlace: boolean, journal: readonly Change[]): Step {
  const ours = journal.find((entry) => isOfSame(entry, change));
  return {
    what: purposeOf(change),
    why,
    ...commandOf(change, 'do'),
    undo: ours === undefined ? undefined : commandOf(ours, 'undo'),
    inPlace,
  };
}

function rules(
  options: ResolvedOptions,
  mechanism: Mechanism,
  facts: Facts,
  run: string | undefined,
  journal: readonly Change[],
  owningNothing: boolean,
): Step[] {
  const { traces } = facts;
  const name = rulesName(options);
  const used = xtablesUsed(mechanism, traces);
  const unused = traces.xtables.filter((variant) => variant.chain && !used.includes(variant));
  const opening = used.some(({ jumps }) => jumps === 0);
  const markers = markersOf(options, run);
  const by = entering(options, facts);
  const none = owningNothing || isOfOthers(options, traces);
  const whole = [
    nftTable(options, mechanism.kind, opening ? 'closed' : 'queue', { owningNothing: none, ...by }),
    neighbours(options, facts),
    memory(name, [...markers, ...mangleToMake(used, traces)], journal),
    ...optionsLines(options).map((line) => `${line}\n`),
    ...obsoleteChains(options, mechanism, markers, traces),
  ].join('');
  const first = {
    ...nft('install the nft rules', whole),
    why: `First, so that nothing is answered or accepted that should not be. It also records what to undo${opening ? '. Until xtables queues, nothing passes' : ''}.`,
    undo: nftUndo(name, options),
  };
  return [
    first,
    ...(mechanism.kind === 'nft-compat' ? [queueRule(options)] : []),
    ...used.map((variant) => queueing(options, variant)),
    ...(opening ? [open(options, mechanism, by)] : []),
    ...unused.map((variant) => ({
      ...restore('remove', variant, xtablesRemoval(name, variant.jumps)),
      why: 'An earlier run used them to queue.',
    })),
  ];
}

/** With other options, the sets of what is owned mean other packets; with the same, they are the engine's to change. */
const isOfOthers = (options: ResolvedOptions, { nftChains }: Traces): boolean =>
  nftChains !== undefined && !isMadeOf(options, parseMarkers(nftChains));

const open = (options: ResolvedOptions, { kind }: Mechanism, by: Entering): Step => ({
  ...nft('open the nft rules', nftTable(options, kind, 'queue', by)),
  why: 'Now that what passes here is queued.',
});

const queueing = (options: ResolvedOptions, variant: XtablesTraces): Step => ({
  ...restore('install', variant, xtablesChain(options, 'queue', variant.jumps === 0)),
  why: "This kernel's nft cannot queue packets. The queue rule comes first in mangle.",
  undo: restoring(variant.program, xtablesRemoval(rulesName(options), 1)),
});

/** Of the interfaces, what rules need to know besides the options. */
interface Entering {
  indexes: number[];
  vrfs: string[];
}

function entering(options: ResolvedOptions, { interfaces }: Pick<Facts, 'interfaces'>): Entering {
  const there = options.interfaces.flatMap(({ name }) => interfaces[name] ?? []);
  return {
    indexes: there.map(({ index }) => index),
    vrfs: [...new Set(there.flatMap(({ vrf }) => vrf ?? []))],
  };
}

const queueRule = ({ name, queues, queueCpuFanout }: ResolvedOptions): Step => {
  const rule = { name, queues, queueCpuFanout };
  return {
    ...step('queue by NFQUEUE in the nft rules', queueRuleCommand(rule)),
    why: 'nft has no syntax for it. Until it is in place, packets that reach its chain are dropped.',
    queueRule: rule,
  };
};

function nftUndo(name: string, { interfaces }: ResolvedOptions): Command {
  const arp = interfaces.some(({ mac }) => mac !== undefined) ? `delete table arp ${name}\n` : '';
  return { program: 'nft', args: NFT_ARGS, input: `delete table inet ${name}\n${arp}` };
}

/** A base chain that is no longer needed is emptied: deleting it would drop what queues hold. */
function neighbours(options: ResolvedOptions, { traces, interfaces }: Facts): string {
  const name = rulesName(options);
  const needed = options.interfaces.some(({ mac }) => mac !== undefined);
  return [
    needed || traces.arp ? arpTable(name, options.interfaces) : '',
    needed || hasNeighbours(traces.nftChains)
      ? discoveryChain(name, options.interfaces, interfaces)
      : '',
  ].join('');
}

/** The chains without a hook that later runs read. */
function memory(name: string, markers: readonly string[], journal: readonly Change[]): string {
  return [
    ...markers.map((marker) => `add chain inet ${name} ${marker}\n`),
    `add chain inet ${name} ${UNDO}\nflush chain inet ${name} ${UNDO}\n`,
    ...journal.map((change) => journalLine(name, change)),
  ].join('');
}

export const journalLine = (name: string, change: Change): string =>
  `add rule inet ${name} ${UNDO} continue comment "${asText(change)}"\n`;

function mangleToMake(used: readonly XtablesTraces[], { mangle, made }: Traces): string[] {
  return used
    .filter(({ legacy, family }) => !legacy && (!mangle.includes(family) || made.includes(family)))
    .map(({ family }) => madeMangle(family));
}

/** Removes the chains of another mechanism, and markers of other options. */
function obsoleteChains(
  options: ResolvedOptions,
  { kind }: Mechanism,
  markers: readonly string[],
  { nftChains = [] }: Traces,
): string[] {
  const name = rulesName(options);
  const wanted = chainsOf(options, kind);
  const obsolete = nftChains.filter((chain) => {
    if (isMarker(chain)) return !markers.includes(chain);
    return hasRules(chain) && !wanted.includes(chain);
  });
  // A base chain stays, empty: with it the kernel would drop what any queue holds.
  const deleted = obsolete.filter((chain) => !isBaseChain(chain));
  return [
    ...obsolete.map((chain) => `flush chain inet ${name} ${chain}\n`),
    ...deleted.map((chain) => `delete chain inet ${name} ${chain}\n`),
  ];
}

function xtablesUsed(mechanism: Mechanism, traces: Traces): XtablesTraces[] {
  if (mechanism.kind !== 'xtables') return [];
  return traces.xtables.filter(
    ({ program }) => program === mechanism.iptables || program === mechanism.ip6tables,
  );
}
