/* The steps that undo a setup: changes, then xtables rules, and the nft rules last. */
import { commandOf, isInPlace, isOfSame, purposeOf, type Change } from './changes.js';
import type { Facts } from './facts.js';
import { isMarker, OPTIONS, UNDO } from './markers.js';
import { FIX_UP_CHAINS, xtablesRemoval } from './ruleset.js';
import { nft, restore, step, type Step } from './step.js';
import { madeMangle, type Family, type Traces } from './traces.js';

/** The steps that undo changes, the last one first, as far as they are still so and no other setup needs them. */
export function undoing(journal: readonly Change[], facts: Omit<Facts, 'traces'>): Step[] {
  return toUndo(journal, facts)
    .toReversed()
    .map((change) => ({
      ...step(`undo: ${purposeOf(change)}`, commandOf(change, 'undo')),
      why: 'While the rules are still in place.',
    }));
}

export const toUndo = (journal: readonly Change[], facts: Omit<Facts, 'traces'>): Change[] =>
  journal
    .filter((change) => !isHeld(change, facts))
    .map((change) => onRenamed(change, journal, facts))
    .filter((change) => isInPlace(change, facts) && !isHeld(change, facts));

/**
 * A change to an interface that has another name by now: it is known by the cluster's MAC, or its group. Left there,
 * the addresses would be answered for without any rules.
 */
function onRenamed(
  change: Change,
  journal: readonly Change[],
  facts: Omit<Facts, 'traces'>,
): Change {
  if (change.kind === 'sysctl') return change;
  const mark = journal.find(
    ({ kind, on }) => on === change.on && (kind === 'mac' || kind === 'group'),
  );
  if (mark === undefined || isInPlace(mark, facts)) return change;
  const others = Object.keys(facts.interfaces).filter((name) =>
    journal.every(({ on }) => on !== name),
  );
  const on = others.find((name) => isInPlace({ ...mark, on: name }, facts));
  return on === undefined ? change : { ...change, on };
}

/** Whether another setup needs a change, and undoes it when it goes. */
const isHeld = (change: Change, { others }: Pick<Facts, 'others'>): boolean =>
  others.some((entry) => isOfSame(entry, change));

/**
 * The transactions that remove what xtables has of ours. The nft rules go later, and must not have the kernel take what
 * nobody has decided for its own.
 */
export function xtablesRevert(name: string, traces: Traces): Step[] {
  const there = traces.xtables.filter(({ chain }) => chain);
  if (there.length === 0) return [];
  return [
    ...withoutFixUp(name, traces),
    ...there.map((variant) => restore('remove', variant, xtablesRemoval(name, variant.jumps))),
  ];
}

function withoutFixUp(name: string, { nftChains = [] }: Traces): Step[] {
  const chains = nftChains.filter((chain) => FIX_UP_CHAINS.includes(chain));
  if (chains.length === 0) return [];
  // Each is made first, as somebody may have removed it since.
  const lines = chains.flatMap((chain) =>
    ['add', 'flush'].map((what) => `${what} chain inet ${name} ${chain}\n`),
  );
  return [nft('leave multicast frames as they come', `add table inet ${name}\n${lines.join('')}`)];
}

/**
 * The transaction that removes the nft tables, and what iptables-nft made for us; none where there are none.
 * @param tables what `nft list table FAMILY mangle` printed, once our xtables rules are gone; undefined while
 * queues hold packets, which the kernel would drop with any base chain: then these stay, empty
 */
export function nftRevert(
  name: string,
  traces: Traces,
  tables: Partial<Record<Family, string>> | undefined,
): Step[] {
  if (tables === undefined) return emptying(name, traces);
  const empty = mangleMade(traces).filter((family) => isEmptyMangle(tables[family] ?? ''));
  const deletions = [
    ...(traces.nftChains === undefined ? [] : [`inet ${name}`]),
    ...(traces.arp ? [`arp ${name}`] : []),
    ...empty.map((family) => `${family} mangle`),
  ];
  if (deletions.length === 0) return [];
  // Each is made first, as somebody may have removed it since.
  const lines = deletions.map((table) => `add table ${table}\ndelete table ${table}\n`);
  return [nft('remove the nft rules', lines.join(''))];
}

function emptying(name: string, { nftChains = [], arp }: Traces): Step[] {
  const memory = nftChains.filter(
    (chain) => isMarker(chain) || chain === UNDO || chain === OPTIONS,
  );
  const transaction = [
    ...(nftChains.length === 0 ? [] : [`flush table inet ${name}\n`]),
    ...memory.map((chain) => `delete chain inet ${name} ${chain}\n`),
    ...(arp ? [`flush table arp ${name}\n`] : []),
  ];
  return transaction.length === 0 ? [] : [nft('empty the nft rules', transaction.join(''))];
}

/** The families whose table mangle this engine shall remove, if nobody else uses it. */
export function mangleMade(traces: Traces): Family[] {
  return traces.mangle.filter((family) => traces.nftChains?.includes(madeMangle(family)));
}

/** Whether a listed table has nothing in it but base chains without a rule that accept. */
export function isEmptyMangle(listed: string): boolean {
  return /^table \S+ mangle \{\n(\tchain \S+ \{\n\t\ttype \S+ hook [^\n]*; policy accept;\n\t\}\n\n?)*\}\n$/.test(
    listed,
  );
}
