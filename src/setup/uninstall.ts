/* Undoes a setup: by what its rules record or, if they are gone, by what the process remembers. */
import { NfqClusterError } from '../errors.js';
import type { ResolvedOptions } from '../options/types.js';
import { isOfSame, wantedChanges, type Change } from './changes.js';
import { run } from './exec.js';
import { readFacts, type Facts } from './facts.js';
import { untilNothingIsHeld } from './held.js';
import { journalLine } from './plan.js';
import { rememberedOptions } from './remembered.js';
import { mangleMade, nftRevert, toUndo, undoing, xtablesRevert } from './removal.js';
import { nameOf, rulesName } from './ruleset.js';
import { nft, take } from './step.js';
import { isClean, type Family, type Traces } from './traces.js';
import { inTurn } from './turn.js';
import { checkWritable } from './writable.js';

/**
 * Takes back what a setup of this name changed, whoever made it and however that ended, the rules last.
 * Does nothing where there is none.
 * @param name as in the options, without the prefix of the tables
 * @throws NfqClusterError `ERR_HELD`, `ERR_RULES`, `ERR_READ_ONLY`, `ERR_PRIVILEGE`, `ERR_NO_TOOL`, `ERR_NO_NETNS`
 */
export async function revert(name: string, netns: string | undefined): Promise<void> {
  const setup = { name, netns };
  const uninstalled = async (): Promise<boolean> => uninstall(setup, await readFacts(setup));
  if (await inTurn(netns, uninstalled)) return;
  throw new NfqClusterError(
    'ERR_HELD',
    'Everything is undone except for empty chains, which have no effect',
    {
      expected: 'a moment in which no queue of the network namespace holds a packet',
      found:
        'packets that wait for their verdict, which the kernel drops when a base chain is deleted',
      remedy:
        'Revert again when there is less traffic, or when the program that listens on that queue goes on',
    },
  );
}

/** @returns whether everything is gone; else empty chains stay, since queues hold packets all the time */
export async function uninstall(
  { name, netns }: Pick<ResolvedOptions, 'name' | 'netns'>,
  facts: Facts,
): Promise<boolean> {
  const { traces } = facts;
  const table = rulesName({ name });
  const steps = undoing(facts.journal, facts);
  await checkWritable(steps, netns);
  await take(steps, netns);
  if (isClean(traces)) return true;
  await take(xtablesRevert(table, traces), netns);
  const gone = await untilNothingIsHeld(netns);
  const tables = gone ? await listMangle(traces, netns) : undefined;
  await take(nftRevert(table, traces, tables), netns);
  return gone;
}

async function listMangle(
  traces: Traces,
  netns: string | undefined,
): Promise<Partial<Record<Family, string>>> {
  const tables: Partial<Record<Family, string>> = {};
  for (const family of mangleMade(traces)) {
    tables[family] = (await run('nft', ['list', 'table', family, 'mangle'], { netns })).stdout;
  }
  return tables;
}

/**
 * Undoes what was changed when the rules that record it are gone. What a newer setup needs, and found in place, is
 * recorded as its own instead.
 */
export async function takeRest(
  options: ResolvedOptions,
  remembered: readonly Change[],
  facts: Facts,
): Promise<void> {
  const { netns } = options;
  const untold = toUndo(remembered, { ...facts, others: [...facts.others, ...facts.journal] });
  if (untold.length === 0) return;
  const needed: Change[] = [];
  let lines = '';
  for (const table of Object.keys(facts.traces.setups)) {
    const setup = rememberedOptions({ ...options, name: nameOf(table) }, facts.traces);
    if (setup === undefined) continue;
    const wanted = wantedChanges(setup, facts);
    const its = untold.filter((entry) => wanted.some(({ change }) => isOfSame(change, entry)));
    needed.push(...its);
    lines += its.map((change) => journalLine(table, change)).join('');
  }
  if (needed.length > 0) await take([nft('remember what was changed', lines)], netns);
  const rest = untold.filter((change) => !needed.includes(change));
  await take(undoing(rest, facts), netns);
}
