import type { ResolvedOptions } from '../options.js';
import {
  chainNames,
  nftTable,
  rulesName,
  xtablesChain,
  xtablesRemoval,
  type Mechanism,
  type Phase,
} from './ruleset.js';
import { madeMangle, type Family, type Traces, type XtablesTraces } from './traces.js';

/** One transaction: a program that takes all of its input or nothing of it. */
export interface Step {
  /** What it does, for an error's message. */
  purpose: string;
  program: string;
  args: readonly string[];
  input: string;
}

/**
 * The transactions that install the rules or, over what an earlier run of the same name left, replace
 * them: no moment lies between old and new in which a foreign packet gets in.
 */
export function installation(
  options: ResolvedOptions,
  mechanism: Mechanism,
  traces: Traces,
): Step[] {
  const name = rulesName(options);
  const used = xtablesUsed(mechanism, traces);
  const unused = traces.xtables.filter((variant) => variant.chain && !used.includes(variant));
  const { before, after } = chainNames(mechanism.kind);
  const obsolete = (traces.nftChains ?? []).filter(
    (chain) => chain !== before && chain !== after && !chain.startsWith('made-'),
  );
  const marker = used
    .filter(
      (variant) =>
        !variant.legacy &&
        (!traces.mangle.includes(variant.family) || traces.made.includes(variant.family)),
    )
    .map(({ family }) => `add chain inet ${name} ${madeMangle(family)}\n`);
  const deletions = obsolete.map(
    (chain) => `flush chain inet ${name} ${chain}\ndelete chain inet ${name} ${chain}\n`,
  );
  return [
    nft(
      'install the nft rules',
      [nftTable(options, mechanism.kind, 'queue'), ...marker, ...deletions].join(''),
    ),
    ...used.map((variant) =>
      restore('install', variant, xtablesChain(options, 'queue', variant.jumps === 0)),
    ),
    ...unused.map((variant) => restore('remove', variant, xtablesRemoval(name, variant.jumps))),
  ];
}

/** The transactions after which nothing is queued, while foreign packets still stay outside. */
export function closing(options: ResolvedOptions, mechanism: Mechanism, traces: Traces): Step[] {
  const phase: Phase = 'closed';
  const used = xtablesUsed(mechanism, traces).filter(({ chain }) => chain);
  const table =
    traces.nftChains === undefined
      ? []
      : [nft('stop queueing by nft', nftTable(options, mechanism.kind, phase))];
  return [
    ...table,
    ...used.map((variant) =>
      restore('stop queueing by', variant, xtablesChain(options, phase, false)),
    ),
  ];
}

/** The transactions that remove what xtables has of ours. */
export function xtablesRevert(name: string, traces: Traces): Step[] {
  return traces.xtables
    .filter(({ chain }) => chain)
    .map((variant) => restore('remove', variant, xtablesRemoval(name, variant.jumps)));
}

/**
 * The transaction that removes the nft table, and what iptables-nft made for us; none where there is no table.
 * @param tables what `nft list table FAMILY mangle` printed, once our xtables rules are gone
 */
export function nftRevert(
  name: string,
  traces: Traces,
  tables: Partial<Record<Family, string>>,
): Step[] {
  if (traces.nftChains === undefined) return [];
  const empty = mangleMade(traces).filter((family) => isEmptyMangle(tables[family] ?? ''));
  return [
    nft(
      'remove the nft rules',
      [
        `delete table inet ${name}\n`,
        ...empty.map((family) => `delete table ${family} mangle\n`),
      ].join(''),
    ),
  ];
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

function xtablesUsed(mechanism: Mechanism, traces: Traces): XtablesTraces[] {
  if (mechanism.kind === 'nft') return [];
  return traces.xtables.filter(
    ({ program }) => program === mechanism.iptables || program === mechanism.ip6tables,
  );
}

const nft = (purpose: string, input: string): Step => ({
  purpose,
  program: 'nft',
  args: ['-f', '-'],
  input,
});

const restore = (what: string, { program }: XtablesTraces, input: string): Step => ({
  purpose: `${what} the ${program} rules`,
  program: `${program}-restore`,
  // Another program may hold the lock of the legacy tables for a moment.
  args: ['--noflush', '-w', '10'],
  input,
});
