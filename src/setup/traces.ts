import { NfqClusterError } from '../errors.js';
import { findProgram, nftListing, run, runOrThrow } from './exec.js';
import { procNet } from './kernel-files.js';

export type Family = 'ip' | 'ip6';

const FAMILIES: readonly Family[] = ['ip', 'ip6'];

/**
 * iptables-nft creates the table mangle where there is none. That it did so for us is remembered in our own
 * table, by an empty chain of this name, so that also a later run can tell whether to remove it.
 */
export const madeMangle = (family: Family): string => `made-${family}-mangle`;

/** One iptables variant for one address family, and whether `iptables-legacy` keeps its rules. */
export interface XtablesVariant {
  /** `iptables-nft` and so on; with `-save` and `-restore` behind it, the programs that we call. */
  program: string;
  family: Family;
  legacy: boolean;
}

export interface XtablesTraces extends XtablesVariant {
  /** Our chain exists in the table mangle. */
  chain: boolean;
  /** How often PREROUTING jumps to it: once, if nobody meddled. */
  jumps: number;
}

/** An nft table that this package made. */
export interface SetupTable {
  chains: readonly string[];
  /** The comments of the rules in each of its chains: those of a chain without a hook tell later runs what they need. */
  comments: Readonly<Partial<Record<string, readonly string[]>>>;
}

/** What stands in a network namespace under our name: from this run, or from one that was killed. */
export interface Traces {
  /** The chains of our nft table; undefined where there is no such table. */
  nftChains: readonly string[] | undefined;
  /** Those of them that have a hook and no rule. */
  emptied: readonly string[];
  /** Our table of family arp exists. */
  arp: boolean;
  /** Every nft table that this package made in the namespace, ours included, by its name. */
  setups: Readonly<Partial<Record<string, SetupTable>>>;
  /** The families in which nft, and so iptables-nft, has a table mangle. */
  mangle: readonly Family[];
  /** Those of them that iptables-nft made for us, under this or any other name. */
  made: readonly Family[];
  xtables: readonly XtablesTraces[];
}

/**
 * Reads, and changes nothing.
 * @param name of the table and chain, `nfq-cluster-…`
 * @throws NfqClusterError what `runOrThrow` throws
 */
export async function readTraces(name: string, netns: string | undefined): Promise<Traces> {
  const { stdout } = await runOrThrow('list the nft tables', 'nft', ['list', 'tables'], { netns });
  const tables = stdout.split('\n');
  const mangle = FAMILIES.filter((family) => tables.includes(`table ${family} mangle`));
  const setups = new Map<string, SetupTable>();
  let emptied: string[] = [];
  for (const [, table] of stdout.matchAll(/^table inet (nfq-cluster-\S+)$/gm)) {
    const text = await listTable(['inet', table!], netns);
    setups.set(table!, { chains: parseChains(text), comments: parseComments(text) });
    if (table === name) emptied = parseEmptied(text);
  }
  const all = [...setups.values()].flatMap(({ chains }) => chains);
  const xtables: XtablesTraces[] = [];
  for (const variant of await installedVariants())
    xtables.push(await readXtables(variant, name, mangle, netns));
  return {
    nftChains: setups.get(name)?.chains,
    emptied,
    arp: tables.includes(`table arp ${name}`),
    setups: Object.fromEntries(setups),
    mangle,
    made: mangle.filter((family) => all.includes(madeMangle(family))),
    xtables,
  };
}

/** Whether nothing is there that an earlier run of this name left. */
export const isClean = (traces: Traces): boolean =>
  traces.nftChains === undefined && !traces.arp && traces.xtables.every(({ chain }) => !chain);

/** iptables variants on this machine. Plain `iptables` is one of both; it counts where it is all there is. */
export async function installedVariants(): Promise<XtablesVariant[]> {
  const named = installed(['iptables-nft', 'ip6tables-nft', 'iptables-legacy', 'ip6tables-legacy']);
  const programs = named.length > 0 ? named : installed(['iptables', 'ip6tables']);
  return Promise.all(
    programs.map(async (program) => ({
      program,
      family: program.startsWith('ip6') ? 'ip6' : 'ip',
      legacy: await isLegacy(program),
    })),
  );
}

/** The legacy tables that are in use in a namespace: to ask iptables-legacy itself would create one. */
export async function legacyTables(family: Family, netns: string | undefined): Promise<string[]> {
  const names = await procNet(`${family}_tables_names`, netns);
  return names?.split('\n').filter((name) => name !== '') ?? [];
}

export const hasLegacyMangle = async (
  family: Family,
  netns: string | undefined,
): Promise<boolean> => (await legacyTables(family, netns)).includes('mangle');

/** Whether a namespace has IPv6; without it there is nothing to decide, and ip6tables may fail. */
export async function hasIpv6(netns: string | undefined): Promise<boolean> {
  return (await procNet('if_inet6', netns)) !== undefined;
}

/** What `iptables-save -t mangle` printed, as far as it concerns us. */
export function parseSave(text: string, name: string): Pick<XtablesTraces, 'chain' | 'jumps'> {
  const all = text.split('\n');
  return {
    chain: all.some((line) => line.startsWith(`:${name} `)),
    jumps: all.filter((line) => line === `-A PREROUTING -j ${name}`).length,
  };
}

/** The chains in what `nft list table` printed. */
export const parseChains = (text: string): string[] =>
  [...text.matchAll(/^\tchain (\S+) \{$/gm)].map((match) => match[1]!);

/** The chains with a hook and no rule in what `nft list table` printed. */
export const parseEmptied = (text: string): string[] =>
  [...text.matchAll(/^\tchain (\S+) \{\n\t\ttype [^\n]*\n\t\}$/gm)].map((match) => match[1]!);

/** The comments of the rules in each chain of what `nft list table` printed. */
export function parseComments(text: string): Record<string, string[]> {
  const chains = [...text.matchAll(/^\tchain (\S+) \{\n([^]*?)^\t\}$/gm)];
  return Object.fromEntries(
    chains.map(([, chain, rules]) => [
      chain!,
      [...rules!.matchAll(/ comment "(.*)"$/gm)].map(([, comment]) => comment!),
    ]),
  );
}

const listTable = (
  table: readonly [family: string, name: string],
  netns: string | undefined,
): Promise<string> => nftListing(['table', ...table], netns, ['-t']);

async function readXtables(
  variant: XtablesVariant,
  name: string,
  nftMangle: readonly Family[],
  netns: string | undefined,
): Promise<XtablesTraces> {
  const absent = { ...variant, chain: false, jumps: 0 };
  const { program, family, legacy } = variant;
  const hasMangle = legacy ? await hasLegacyMangle(family, netns) : nftMangle.includes(family);
  if (!hasMangle) return absent;
  const saved = await run(`${program}-save`, ['-t', 'mangle'], { netns });
  if (saved.status === 0 && incompatibleTable(saved.stdout) === undefined)
    return { ...variant, ...parseSave(saved.stdout, name) };
  if (legacy || !parseChains(await listTable([family, 'mangle'], netns)).includes(name))
    return absent;
  throw incompatible(program, `${family} mangle`);
}

/** The table that is not in what iptables-nft printed, since it has what nft alone can say. */
export const incompatibleTable = (saved: string): string | undefined =>
  /^# Table `(.*)' is incompatible/m.exec(saved)?.[1];

export const incompatible = (program: string, table: string): NfqClusterError =>
  new NfqClusterError('ERR_RULES', `${program}-save does not print the table ${table}`, {
    remedy: `Move the rules that only nft can express ("nft list table ${table}") to a table of another name`,
  });

/** Plain iptables says which it is; before 1.8 there was but one. */
async function isLegacy(program: string): Promise<boolean> {
  if (program.includes('-')) return program.endsWith('-legacy');
  return !(await run(program, ['--version'])).stdout.includes('nf_tables');
}

const installed = (programs: readonly string[]): string[] =>
  programs.filter((program) => findProgram(`${program}-restore`) !== undefined);
