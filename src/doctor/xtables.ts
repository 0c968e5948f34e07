import { words } from '../import/words.js';
import type { Command } from '../setup/exec.js';
import type { XtablesVariant } from '../setup/traces.js';
import type { DoctorFacts, Subject } from './facts.js';
import { error, given, ok, type Finding } from './finding.js';
import {
  dropsBefore,
  judgeMark,
  judgeQueueing,
  policyDrops,
  untracks,
  type OtherRule,
} from './other-rules.js';
import { isOurs } from './subjects.js';

/** What one `iptables-save` printed. */
export interface SavedRules extends XtablesVariant {
  text: string;
}

interface Rule {
  program: string;
  table: string;
  chain: string;
  /** From 1, in its chain. */
  number: number;
  words: readonly string[];
}

/** Rules of iptables and ip6tables, by other hands, that would keep packets from the decision, or change it. */
export const checkXtables = ({ subjects, xtables, netns }: DoctorFacts): Finding[] =>
  given('iptables rules', subjects, (all) =>
    given('iptables rules', xtables, (saved) => {
      // The last first, so that the commands may be run in the order in which they are printed.
      const rules = saved.flatMap((one) => parse(one).toReversed());
      const findings = [
        ...rules.flatMap((rule) => judgeMatch(rule, netns)),
        ...(all.length === 0 ? [] : saved.flatMap(judgePolicy)),
        ...all.flatMap((subject) => rules.flatMap((rule) => judge(subject, rule, rules, netns))),
      ];
      return findings.length > 0
        ? findings
        : [ok('iptables rules', 'None by other hands stands in the way')];
    }),
  );

/** The rules in what `iptables-save` printed. */
export function parse({ program, text }: SavedRules): Rule[] {
  let table = '';
  const counts = new Map<string, number>();
  return text.split('\n').flatMap((line) => {
    if (line.startsWith('*')) table = line.slice(1).trim();
    const [append, chain, ...rest] = words(line);
    if (append !== '-A' || chain === undefined) return [];
    const number = (counts.get(`${table} ${chain}`) ?? 0) + 1;
    counts.set(`${table} ${chain}`, number);
    return [{ program, table, chain, number, words: rest }];
  });
}

function judgeMatch(rule: Rule, netns: string | undefined): Finding[] {
  const cluster = rule.words.some((word, at) => word === 'cluster' && rule.words[at - 1] === '-m');
  if (!cluster && target(rule) !== 'CLUSTERIP') return [];
  const what = cluster ? '-m cluster' : '-j CLUSTERIP';
  return [
    error(
      what,
      `A rule in ${place(rule)} has ${what}: packets are decided twice, and those on which both disagree are lost`,
      { command: deleting(rule) },
      netns,
    ),
  ];
}

function judgePolicy({ program, text }: SavedRules): Finding[] {
  if (!/^\*raw\n(:.*\n)*:PREROUTING DROP /m.test(text)) return [];
  return [policyDrops('iptables rules', `${program}, table raw, PREROUTING`)];
}

function judge(
  subject: Subject,
  rule: Rule,
  all: readonly Rule[],
  netns: string | undefined,
): Finding[] {
  const entering = rule.words[rule.words.indexOf('-i') + 1];
  const concerned =
    !rule.words.includes('-i') ||
    subject.interfaces.includes(entering!) ||
    entering!.endsWith('+') ||
    rule.words[rule.words.indexOf('-i') - 1] === '!';
  if (!concerned || rule.chain === 'OUTPUT') return [];
  return [
    ...judgeQueue(subject, rule, netns),
    ...(!subject.stateless && isNotrack(rule) ? [untracks(asOther(rule), netns)] : []),
    ...judgeOrder(subject, rule, all, netns),
    ...judgeMarks(subject, rule, all),
  ];
}

function judgeQueue(subject: Subject, rule: Rule, netns: string | undefined): Finding[] {
  if (target(rule) !== 'NFQUEUE') return [];
  const queueing = {
    numbers: queueNumbers(rule),
    bypass: rule.words.includes('--queue-bypass') ? 'has --queue-bypass' : undefined,
    within: rule.chain,
  };
  return judgeQueueing(subject, asOther(rule), queueing, netns);
}

function queueNumbers(rule: Rule): [number, number] {
  const balance = optionOf(rule, '--queue-balance');
  const [first = 0, last = first] = (balance ?? optionOf(rule, '--queue-num') ?? '0')
    .split(':')
    .map(Number);
  return [first, last];
}

/** What stands before the jump to our chain sees, and may take, what is not decided yet. */
function judgeOrder(
  { name }: Subject,
  rule: Rule,
  all: readonly Rule[],
  netns: string | undefined,
): Finding[] {
  const verdict = target(rule) ?? '';
  if (rule.table === 'raw' && verdict === 'DROP' && entered(rule, all).has(rule.chain)) {
    return [dropsBefore('iptables rules', asOther(rule), netns)];
  }
  if (rule.chain !== 'PREROUTING' || isOurs(verdict)) return [];
  const jump = jumpTo(name, rule, all);
  if (jump === undefined || rule.number > jump.number || rule.table !== 'mangle') return [];
  return [
    error(
      'rule order',
      `A rule in ${place(rule)} stands before ours: what it accepts is never decided`,
      { remedy: 'Delete it, and add it again behind ours', command: deleting(rule) },
      netns,
    ),
  ];
}

/** The chains of a rule's table that packets come to from PREROUTING. */
function entered({ program, table }: Rule, all: readonly Rule[]): ReadonlySet<string> {
  const chains = new Set(['PREROUTING']);
  // What is added on the way is looked at, too.
  for (const chain of chains) {
    for (const rule of all) {
      if (rule.program === program && rule.table === table && rule.chain === chain)
        chains.add(target(rule) ?? chain);
    }
  }
  return chains;
}

const jumpTo = (name: string, { program }: Rule, all: readonly Rule[]): Rule | undefined =>
  all.find(
    (other) =>
      other.program === program &&
      other.table === 'mangle' &&
      other.chain === 'PREROUTING' &&
      target(other) === `nfq-cluster-${name}`,
  );

function judgeMarks(subject: Subject, rule: Rule, all: readonly Rule[]): Finding[] {
  const [value, mask] = (optionOf(rule, '--set-xmark') ?? '0/0').split('/').map(Number);
  if (target(rule) !== 'MARK' || isOurs(rule.chain)) return [];
  const before = rule.table === 'raw' || jumpTo(subject.name, rule, all) === undefined;
  if (!before && rule.chain !== 'PREROUTING') return [];
  return judgeMark(subject, asOther(rule), before, { value: value!, mask: mask ?? ~0 });
}

const optionOf = ({ words: all }: Rule, name: string): string | undefined => {
  const at = all.indexOf(name);
  return at < 0 ? undefined : all[at + 1];
};

const target = (rule: Rule): string | undefined => optionOf(rule, '-j') ?? optionOf(rule, '-g');

const isNotrack = (rule: Rule): boolean =>
  target(rule) === 'NOTRACK' || rule.words.includes('--notrack');

const place = ({ program, table, chain, number }: Rule): string =>
  `${program}, table ${table}, ${chain} ${number}`;

/** By its number, since the mask of a cluster match that is printed is not always taken again. */
const deleting = ({ program, table, chain, number }: Rule): Command => ({
  program,
  args: ['-t', table, '-D', chain, `${number}`],
});

const asOther = (rule: Rule): OtherRule => ({ place: place(rule), deletion: deleting(rule) });
