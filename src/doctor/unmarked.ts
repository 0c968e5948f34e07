/* Rules that drop what no other rule has marked, as the man page has them behind `-m cluster ... -j MARK`. */
import { error, type Judged } from './finding.js';
import type { Subject } from './facts.js';
import { deleting, hasMatch, optionOf, place, target, type Rule } from './xtables-rule.js';

/** Targets and options by which a mark comes from elsewhere: from the connection, a socket, a set. */
const RESTORES = ['--restore-mark', '--tproxy-mark', '--map-mark'];

const ALL = 0xffff_ffff;

/**
 * Rules in an order in which their deletions may be run: in each chain the last first, as numbers change behind one
 * that is gone, and the chains that drop what is not marked before those that mark it.
 */
export function forDeletion(rules: readonly Rule[]): Rule[] {
  const dropping = new Set(rules.filter(dropsUnmarked).map(chainOf));
  const later = (rule: Rule): number => (dropping.has(chainOf(rule)) ? 0 : 1);
  return rules.toReversed().sort((a, b) => later(a) - later(b));
}

const chainOf = ({ program, table, chain }: Rule): string => `${program} ${table} ${chain}`;

/** A rule that drops what the rules with a cluster match do not mark: without them, it would drop everything. */
export function judgeDropOfUnmarked(rule: Rule, all: readonly Rule[]): Judged[] {
  if (!dropsUnmarked(rule)) return [];
  const marking = all.find((other) => isCluster(other) && lets(rule, other));
  if (marking === undefined) return [];
  return [
    error(
      '-m cluster',
      `A rule in ${place(rule)} drops what ${place(marking)} and similar rules do not mark: without them, it drops everything`,
      {
        remedy: 'Delete it before the rules that mark',
        command: deleting(rule),
      },
    ),
  ];
}

/** A leftover of such rules: nothing sets the mark any more, so that it drops owned packets, too. */
export function judgeLeftDrop(
  { action }: Subject,
  rule: Rule,
  { all, marked }: { all: readonly Rule[]; marked: boolean },
): Judged[] {
  if (action !== 'drop' || rule.table !== 'mangle' || rule.chain !== 'PREROUTING') return [];
  if (!dropsUnmarked(rule) || marked || all.some((other) => lets(rule, other))) return [];
  return [
    error(
      'iptables rules',
      `A rule in ${place(rule)} drops packets without a mark that nothing sets any more: owned packets, too`,
      { command: deleting(rule) },
    ),
  ];
}

export const isCluster = (rule: Rule): boolean => hasMatch(rule, 'cluster');

/** By a match of the mark, which a packet without any mark meets. */
const dropsUnmarked = (rule: Rule): boolean =>
  target(rule) === 'DROP' && hasMatch(rule, 'mark') && meets(rule, 0);

/** Whether a packet may pass the DROP once it went through the other rule. */
function lets(drop: Rule, other: Rule): boolean {
  if (other.family !== drop.family) return false;
  if (RESTORES.some((option) => other.words.includes(option))) return true;
  const mark = target(other) === 'MARK' ? optionOf(other, '--set-xmark') : undefined;
  return mark !== undefined && !meets(drop, numbers(mark)[0]);
}

/** Whether a packet with that mark meets the rule's match of it. */
function meets({ words: all }: Rule, mark: number): boolean {
  const at = all.indexOf(
    '--mark',
    all.findIndex((word, i) => word === 'mark' && all[i - 1] === '-m'),
  );
  const [value, mask] = numbers(all[at + 1] ?? '0');
  return ((mark & mask) >>> 0 === value) !== (all[at - 1] === '!');
}

/** `VALUE/MASK`; without a mask, all bits. */
function numbers(text: string): [value: number, mask: number] {
  const [value = 0, mask = ALL] = text.split('/').map(Number);
  return [value, mask];
}
