import type { MaskedMark } from '../options/types.js';
import { carriedMark } from './mark.js';
import { Refusal, type Note } from './notes.js';
import type { Piece } from './pieces.js';
import {
  bareMatches,
  has,
  marked,
  optionNamed,
  optionsOf,
  precedes,
  written,
  type Rule,
} from './rule.js';

type Outcome = Pick<Piece, 'verdict' | 'action' | 'mark' | 'statement' | 'drops'>;

/**
 * What the target of a rule with `-m cluster` makes of the packets that match.
 * @throws Refusal where that cannot be seen
 */
export function outcomeOf(rule: Rule, rules: readonly Rule[], notes: Note[]): Outcome {
  const { line } = rule;
  const jump = optionNamed(rule, '--jump') ?? optionNamed(rule, '--goto');
  const target = jump?.name === '--jump' ? jump.values[0] : undefined;
  const statement = `-j ${target ?? ''}`;
  if (target === 'DROP') {
    const text = 'packets that conntrack does not track pass this rule, but are dropped here';
    notes.push({ line, kind: 'warning', text });
    return { verdict: 'drop', action: 'drop', statement };
  }
  if (target === 'ACCEPT' || target === 'RETURN') {
    return { verdict: 'accept', action: 'drop', statement };
  }
  if (target === 'MARK') return ofMark(rule, rules, notes);
  throw new Refusal(
    `cannot see what becomes of the packets: ${jump === undefined ? 'no target' : written(jump)} is none of MARK, DROP, ACCEPT and RETURN`,
  );
}

function ofMark(rule: Rule, rules: readonly Rule[], notes: Note[]): Outcome {
  const mark = markOf(rule);
  const statement = '-j MARK';
  const drops = rules.filter((other) => dropsUnmarked(other, rule, mark));
  if (drops.length === 0 || usedElsewhere(rules, drops)) {
    return { verdict: 'mark', action: 'mark', mark, statement };
  }
  for (const { line } of drops.filter((drop) => isWider(drop, rule))) {
    const wider = `the DROP also drops what arrives elsewhere without the mark`;
    if (!notes.some((note) => note.line === line && note.text === wider))
      notes.push({ line, kind: 'not carried', text: wider });
  }
  const lines = drops.map((drop) => drop.line);
  const text = `only the DROP in line ${lines.join(', ')} uses the mark: action drop stands for both`;
  notes.push({ line: rule.line, kind: 'warning', text });
  return { verdict: 'mark', action: 'drop', statement, drops: lines };
}

function markOf(rule: Rule): MaskedMark {
  const option = optionsOf(rule, '--jump', 'MARK').find(({ name }) =>
    /^--(set-x?mark|or-mark)$/.test(name),
  );
  if (option === undefined) throw new Refusal('-j MARK without --set-mark or --set-xmark');
  const { value, mask } = marked(option.name, option.values[0]);
  return carriedMark(option.name, { value, mask: option.name === '--or-mark' ? value : mask });
}

const isWider = (drop: Rule, marking: Rule): boolean =>
  optionNamed(drop, '--in-interface') === undefined &&
  optionNamed(marking, '--in-interface') !== undefined;

/** All that such a rule may say for the marking rule to be alone in saying which packets it is about. */
const DROPS_ALL = ['--in-interface', '--match', '--mark', '--jump', '--comment'];

/** `-m mark ! --mark VALUE -j DROP`, for the same packets, once they are marked. */
function dropsUnmarked(rule: Rule, marking: Rule, { value, mask }: MaskedMark): boolean {
  if (
    !has(rule, '--jump', 'DROP') ||
    rule.program !== marking.program ||
    rule.table !== marking.table ||
    rule.options.some(({ name }) => !DROPS_ALL.includes(name)) ||
    bareMatches(rule).length > 0 ||
    (rule.chain === marking.chain && precedes(rule, marking))
  )
    return false;
  const [option] = optionsOf(rule, '--match', 'mark').filter(({ name }) => name === '--mark');
  const input = optionNamed(rule, '--in-interface');
  const same =
    input === undefined ||
    (!input.negated && input.values[0] === optionNamed(marking, '--in-interface')?.values[0]);
  if (option?.negated !== true || !same) return false;
  const dropped = marked('--mark', option.values[0]);
  return dropped.value === value && (dropped.mask & mask) >>> 0 === mask >>> 0;
}

const usedElsewhere = (rules: readonly Rule[], drops: readonly Rule[]): boolean => {
  const lines = drops.map(({ line }) => line);
  return rules.some(
    (rule) =>
      !lines.includes(rule.line) &&
      optionsOf(rule, '--match', 'mark').some(({ name, negated }) => name === '--mark' && !negated),
  );
};
