/* Rules as `iptables-save` and `ip6tables-save` print them. */
import { words } from '../import/words.js';
import type { Command } from '../setup/exec.js';
import type { XtablesVariant } from '../setup/traces.js';
import type { OtherRule } from './other-rules.js';

/** What one `iptables-save` printed. */
export interface SavedRules extends XtablesVariant {
  text: string;
}

export interface Rule {
  program: string;
  family: XtablesVariant['family'];
  table: string;
  chain: string;
  /** From 1, in its chain. */
  number: number;
  words: readonly string[];
}

/** The rules in what `iptables-save` printed. */
export function parse({ program, family, text }: SavedRules): Rule[] {
  let table = '';
  const counts = new Map<string, number>();
  return text.split('\n').flatMap((line) => {
    if (line.startsWith('*')) table = line.slice(1).trim();
    const [append, chain, ...rest] = words(line);
    if (append !== '-A' || chain === undefined) return [];
    const number = (counts.get(`${table} ${chain}`) ?? 0) + 1;
    counts.set(`${table} ${chain}`, number);
    return [{ program, family, table, chain, number, words: rest }];
  });
}

export const optionOf = ({ words: all }: Rule, name: string): string | undefined => {
  const at = all.indexOf(name);
  return at < 0 ? undefined : all[at + 1];
};

export const target = (rule: Rule): string | undefined =>
  optionOf(rule, '-j') ?? optionOf(rule, '-g');

export const hasMatch = ({ words: all }: Rule, name: string): boolean =>
  all.some((word, at) => word === name && all[at - 1] === '-m');

export const place = ({ program, table, chain, number }: Rule): string =>
  `${program}, table ${table}, ${chain} ${number}`;

/** By its number, since the mask of a cluster match that is printed is not always taken again. */
export const deleting = ({ program, table, chain, number }: Rule): Command => ({
  program,
  args: ['-t', table, '-D', chain, `${number}`],
});

export const asOther = (rule: Rule): OtherRule => ({
  place: place(rule),
  deletion: deleting(rule),
});
