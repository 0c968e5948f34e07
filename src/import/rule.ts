import { U32 } from '../options/checks.js';
import { spelledNumber } from '../numbers.js';
import type { MaskedMark } from '../options/types.js';
import { Refusal } from './notes.js';

/** One option of a rule: `! --cluster-local-node 2`. */
export interface RuleOption {
  name: string;
  negated: boolean;
  values: string[];
}

/** A rule of iptables, ip6tables or arptables, as far as all of them have it. */
export interface Rule {
  line: number;
  program: 'iptables' | 'ip6tables' | 'arptables';
  table: string;
  chain: string;
  /** It goes before the rules that the chain has. */
  inserted: boolean;
  options: RuleOption[];
}

/** All spellings → the one used here. */
const SPELLINGS: Readonly<Record<string, string>> = {
  '-t': '--table',
  '-A': '--append',
  '-I': '--insert',
  '-i': '--in-interface',
  '--interface': '--in-interface',
  '-o': '--out-interface',
  '-d': '--destination',
  '--dst': '--destination',
  '-s': '--source',
  '--src': '--source',
  '-p': '--protocol',
  '--proto': '--protocol',
  '-j': '--jump',
  '-g': '--goto',
  '-m': '--match',
  '-w': '--wait',
};

/** Those of a command that say nothing about packets. */
const COMMAND_OPTIONS = [
  '--table',
  '--append',
  '--insert',
  '--wait',
  '-W',
  '--wait-interval',
  '-n',
];

/**
 * A rule from its words, from the first option on; nothing where it adds none.
 * @param table of the section; the option `--table` overrides it
 */
export function parseRule(
  all: readonly string[],
  { line, program, table }: Pick<Rule, 'line' | 'program' | 'table'>,
): Rule | undefined {
  const options = parseOptions(all);
  const command = options.find(({ name }) => name === '--append' || name === '--insert');
  if (command === undefined) return undefined;
  return {
    line,
    program,
    table: options.find(({ name }) => name === '--table')?.values[0] ?? table,
    chain: command.values[0] ?? '',
    inserted: command.name === '--insert',
    options: options.filter(({ name }) => !COMMAND_OPTIONS.includes(name)),
  };
}

function parseOptions(all: readonly string[]): RuleOption[] {
  const options: RuleOption[] = [];
  let negated = false;
  for (const word of all.flatMap(partsOf)) {
    const last = options.at(-1);
    if (last !== undefined && last.values.length === 0 && TEXTS.includes(last.name)) {
      last.values.push(word);
    } else if (word === '!') {
      // Old iptables put it behind the option: -i ! eth0.
      if (last !== undefined && last.values.length === 0 && takesValue(last.name))
        last.negated = true;
      else negated = true;
    } else if (/^-[a-zA-Z]$|^--[a-z]/.test(word)) {
      const [name, value] = word.split(/=(.*)/s) as [string, string | undefined];
      const values = value === undefined ? [] : [value];
      options.push({ name: SPELLINGS[name] ?? name, negated, values });
      negated = false;
    } else if (last === undefined) {
      throw new Refusal(`expected an option but received ${JSON.stringify(word)}`);
    } else last.values.push(word);
  }
  return options;
}

/** Those whose value may look like an option. */
const TEXTS = ['--comment', '--log-prefix', '--nflog-prefix'];

/** `-ieth0` as `-i eth0`. */
const partsOf = (word: string, at: number, all: readonly string[]): string[] => {
  if (TEXTS.includes(all[at - 1] ?? '')) return [word];
  const [, name, value] = /^(-[AIDRiodspjgmt])([^=-].*)$/s.exec(word) ?? [];
  return name === undefined ? [word] : [name, value!];
};

const takesValue = (name: string): boolean =>
  ['--in-interface', '--source', '--destination', '--protocol', '--mark'].includes(name);

/** Behind which the options of another match or target stand. */
const STARTS = ['--match', '--jump', '--goto'];

/** Those of the rule itself, not of one match or target. */
const GENERAL = new Set(Object.values(SPELLINGS));

/** The matches that have no option of their own, such as `-m socket`. */
export const bareMatches = ({ options }: Rule): RuleOption[] =>
  options.filter(({ name, values }, at) => {
    const rest = options.slice(at + 1);
    const until = rest.findIndex((option) => STARTS.includes(option.name));
    const own = rest.slice(0, until === -1 ? undefined : until);
    return (
      name === '--match' &&
      values[0] !== 'cluster' &&
      own.every((option) => GENERAL.has(option.name))
    );
  });

/** The options of one match or target: those that follow it, up to the next match or target. */
export function optionsOf(rule: Rule, starts: '--match' | '--jump', name: string): RuleOption[] {
  const from = rule.options.findIndex(
    (option) => option.name === starts && option.values[0] === name,
  );
  const rest = rule.options.slice(from + 1);
  const until = rest.findIndex((option) => STARTS.includes(option.name));
  return rest.slice(0, until === -1 ? undefined : until);
}

export const has = (rule: Rule, starts: '--match' | '--jump', name: string): boolean =>
  rule.options.some((option) => option.name === starts && option.values[0] === name);

export const optionNamed = (rule: Rule, name: string): RuleOption | undefined =>
  rule.options.find((option) => option.name === name);

/** The one interface that a rule is for. */
export function onlyInterface(rule: Rule): string | undefined {
  const option = optionNamed(rule, '--in-interface');
  const name = option?.values[0];
  return option?.negated !== false || name?.endsWith('+') === true ? undefined : name;
}

/** Whether the kernel asks one before the other, if both are in one chain. */
export function precedes(rule: Rule, other: Rule): boolean {
  if (rule.inserted !== other.inserted) return rule.inserted;
  return rule.inserted ? rule.line > other.line : rule.line < other.line;
}

/** As it would be written. */
export const written = ({ name, negated, values }: RuleOption): string =>
  [...(negated ? ['!'] : []), name, ...values].join(' ');

/** An unsigned number, as iptables reads it. */
export function unsigned(
  name: string,
  text: string | undefined,
  low: number,
  high: number,
): number {
  if (text === undefined) throw new Refusal(`option "${name}" requires an argument`);
  const value = spelledNumber(text);
  if (value >= low && value <= high) return value;
  throw new Refusal(`bad value for option "${name}", or out of range (${low}-${high}): ${text}`);
}

/** VALUE, or VALUE/MASK. */
export function marked(name: string, text: string | undefined): MaskedMark {
  const [value, mask] = (text ?? '').split('/') as [string, string | undefined];
  return {
    value: unsigned(name, value === '' ? undefined : value, 0, U32),
    mask: mask === undefined ? U32 : unsigned(name, mask, 0, U32),
  };
}
