import type { ResolvedOptions } from '../options/types.js';
import { findProgram, isRefused, run, type Command } from './exec.js';
import type { Facts } from './facts.js';
import { rulesOf } from './plan.js';
import { INNER_CHAINS, rulesName, TARGET_CHAIN, type Mechanism } from './ruleset.js';
import { NFT_ARGS, restoring } from './step.js';
import { inTrial } from './trial.js';

/**
 * Whether the rules of a setup are those that its options make. The latter are loaded in a network namespace
 * of their own, and both are listed by the same program, since no program lists a rule as it was written.
 * @returns undefined if no such namespace may be created
 * @throws NfqClusterError what `run` throws
 */
export async function rulesAreWanted(
  options: ResolvedOptions,
  mechanism: Mechanism,
  facts: Facts,
): Promise<boolean | undefined> {
  if (mechanism.kind === 'nft-compat' && !(await holdsTarget(options))) return false;
  for (const { load, list, only } of listings(options, mechanism, facts)) {
    const path = findProgram(load.program);
    const lister = findProgram(list.program);
    if (path === undefined || lister === undefined) return undefined;
    const script = '"$@" >&2 && exec $LIST';
    const made = await inTrial(
      'env',
      [
        `LIST=${[lister, ...list.args].join(' ')}`,
        ...['sh', '-c', script, 'sh', path, ...load.args],
      ],
      load.input,
    );
    if (made?.status !== 0) return undefined;
    const found = await run(list.program, list.args, { netns: options.netns });
    if (isRefused(found)) return undefined;
    if (only(found.stdout) !== only(made.stdout)) return false;
  }
  return true;
}

/**
 * Whether the chain with NFQUEUE, which the text of the rules does not contain, has its rule, for the same
 * queues and chosen in the same way. Not every nft lists which queues these are.
 */
async function holdsTarget(options: ResolvedOptions): Promise<boolean> {
  const list = ['-t', 'list', 'table', 'inet', rulesName(options)];
  const { stdout } = await run('nft', list, { netns: options.netns });
  const [, rule] =
    new RegExp(`^\\tchain ${TARGET_CHAIN} \\{\\n\\t\\t(\\S.*)$`, 'm').exec(stdout) ?? [];
  if (rule === undefined) return false;
  const [, first, last = first] = /^queue \D*(\d+)(?:-(\d+))?/.exec(rule) ?? [];
  if (first === undefined) return true;
  const { queues, queueCpuFanout } = options;
  const sameQueues = Number(first) === queues[0] && Number(last) === queues.at(-1);
  return sameQueues && /\bfanout\b/.test(rule) === queueCpuFanout;
}

interface Listing {
  /** What makes the rules, and what lists them. */
  load: Command;
  list: Command;
  /** The part of a listing that the options determine. */
  only: (text: string) => string;
}

function listings(options: ResolvedOptions, mechanism: Mechanism, facts: Facts): Listing[] {
  const name = rulesName(options);
  const { nft, arp, xtables } = rulesOf(options, mechanism, facts);
  const load = { program: 'nft', args: NFT_ARGS, input: nft };
  const tables = [`inet ${name}`, ...(arp ? [`arp ${name}`] : [])];
  return [
    ...tables.map((table) => ({
      load,
      list: { program: 'nft', args: ['-t', 'list', 'table', ...table.split(' ')] },
      only: filledChains,
    })),
    ...xtables.map(({ program, input }) => ({
      load: restoring(program, input),
      list: { program: `${program}-save`, args: ['-t', 'mangle'] },
      only: (text: string) => rulesWith(text, name),
    })),
  ];
}

/**
 * The chains whose rules decide something; empty ones, and those that only record something, do not. Interface
 * indexes are masked, as they differ between namespaces; later rules have the names. A dormant table decides nothing.
 */
export const filledChains = (text: string): string =>
  (DORMANT.test(text) ? '' : text)
    .replace(/\biif (?:"[^"]*"|\d+)/g, 'iif _')
    .split(/^(?=\tchain )/m)
    .filter((part) => FILLED.test(part))
    .map((chain) => chain.replace(/^\}$/m, '').trimEnd())
    .sort()
    .join('\n');

const DORMANT = /^\tflags .*\bdormant\b/m;

const FILLED = new RegExp(
  `^\\tchain ((${INNER_CHAINS.join('|')}) \\{\\n|.*\\n\\t\\ttype .*\\n)\\t\\t\\S`,
);

const rulesWith = (text: string, name: string): string =>
  text
    .split('\n')
    .filter((line) => line.startsWith('-A ') && line.includes(name))
    .join('\n');
