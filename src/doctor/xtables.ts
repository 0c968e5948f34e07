import { isDeepStrictEqual } from 'node:util';
import type { DoctorFacts, Subject } from './facts.js';
import { error, given, ok, type Judged } from './finding.js';
import {
  dropsBefore,
  judgeMark,
  judgeQueueing,
  policyDrops,
  untracks,
  usesZone,
} from './other-rules.js';
import { rulesName } from '../setup/ruleset.js';
import { setsMark } from './netfilter.js';
import { isOurs } from './subjects.js';
import { forDeletion, isCluster, judgeDropOfUnmarked, judgeLeftDrop } from './unmarked.js';
import {
  asOther,
  deleting,
  optionOf,
  parse,
  place,
  target,
  type Rule,
  type SavedRules,
} from './xtables-rule.js';

/** What a rule stands among. */
interface Among {
  all: readonly Rule[];
  /** Whether a mark may be set by nft, too. */
  marked: boolean;
}

/** Rules of iptables and ip6tables, by other hands, that would keep packets from the decision, or change it. */
export const checkXtables = ({ subjects, xtables, nft }: DoctorFacts): Judged[] =>
  given('iptables rules', [subjects, xtables], (all, saved) => {
    // In this order the commands are printed, and may be run.
    const rules = forDeletion(saved.flatMap(parse));
    const among = { all: rules, marked: !('known' in nft) || setsMark(nft.known) };
    const findings = [
      ...(all.length === 0 ? [] : saved.flatMap(judgePolicy)),
      ...rules.flatMap((rule) => onceEach(judgeRule(all, rule, among))),
    ];
    return findings.length > 0 ? findings : [ok('iptables rules', 'No other rules are in the way')];
  });

/** Of a rule: its deletion is printed once, as its number would be another rule's the second time. */
const onceEach = (findings: readonly Judged[]): Judged[] =>
  findings.filter(
    ({ command }, at) =>
      command === undefined ||
      findings.findIndex((other) => isDeepStrictEqual(other.command, command)) === at,
  );

const judgeRule = (subjects: readonly Subject[], rule: Rule, among: Among): Judged[] => [
  ...judgeMatch(rule),
  ...judgeDropOfUnmarked(rule, among.all),
  ...subjects.flatMap((subject) => judge(subject, rule, among)),
];

function judgeMatch(rule: Rule): Judged[] {
  const cluster = isCluster(rule);
  if (!cluster && target(rule) !== 'CLUSTERIP') return [];
  const what = cluster ? '-m cluster' : '-j CLUSTERIP';
  return [
    error(
      what,
      `A rule in ${place(rule)} has ${what}: packets are decided twice, and those on which both disagree are lost`,
      { command: deleting(rule) },
    ),
  ];
}

function judgePolicy({ program, text }: SavedRules): Judged[] {
  if (!/^\*raw\n(:.*\n)*:PREROUTING DROP /m.test(text)) return [];
  return [policyDrops('iptables rules', `${program}, table raw, PREROUTING`)];
}

function judge(subject: Subject, rule: Rule, among: Among): Judged[] {
  const { all } = among;
  const entering = rule.words[rule.words.indexOf('-i') + 1];
  const concerned =
    !rule.words.includes('-i') ||
    subject.interfaces.includes(entering!) ||
    entering!.endsWith('+') ||
    rule.words[rule.words.indexOf('-i') - 1] === '!';
  if (!concerned || rule.chain === 'OUTPUT') return [];
  return [
    ...judgeQueue(subject, rule),
    ...(!subject.stateless && isNotrack(rule) ? [untracks(asOther(rule))] : []),
    ...(subject.looksUp && isZone(rule) ? [usesZone(asOther(rule))] : []),
    ...judgeOrder(subject, rule, all),
    ...judgeLeftDrop(subject, rule, among),
    ...judgeMarks(subject, rule, all),
  ];
}

function judgeQueue(subject: Subject, rule: Rule): Judged[] {
  if (target(rule) !== 'NFQUEUE') return [];
  const queueing = {
    numbers: queueNumbers(rule),
    bypass: rule.words.includes('--queue-bypass') ? 'has --queue-bypass' : undefined,
    within: rule.chain,
  };
  return judgeQueueing(subject, asOther(rule), queueing);
}

function queueNumbers(rule: Rule): [number, number] {
  const balance = optionOf(rule, '--queue-balance');
  const [first = 0, last = first] = (balance ?? optionOf(rule, '--queue-num') ?? '0')
    .split(':')
    .map(Number);
  return [first, last];
}

/** What stands before the jump to our chain sees, and may take, what is not decided yet. */
function judgeOrder({ name }: Subject, rule: Rule, all: readonly Rule[]): Judged[] {
  const verdict = target(rule) ?? '';
  if (rule.table === 'raw' && verdict === 'DROP' && entered(rule, all).has(rule.chain)) {
    return [dropsBefore('iptables rules', asOther(rule))];
  }
  if (rule.chain !== 'PREROUTING' || isOurs(verdict)) return [];
  const jump = jumpTo(name, rule, all);
  if (jump === undefined || rule.number > jump.number || rule.table !== 'mangle') return [];
  return [
    error(
      'rule order',
      `A rule in ${place(rule)} comes before ours: what it accepts is never decided`,
      { remedy: 'Delete it, and add it again behind ours', command: deleting(rule) },
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
      target(other) === rulesName({ name }),
  );

function judgeMarks(subject: Subject, rule: Rule, all: readonly Rule[]): Judged[] {
  const [value, mask] = (optionOf(rule, '--set-xmark') ?? '0/0').split('/').map(Number);
  if (target(rule) !== 'MARK' || isOurs(rule.chain)) return [];
  const before = rule.table === 'raw' || jumpTo(subject.name, rule, all) === undefined;
  if (!before && rule.chain !== 'PREROUTING') return [];
  return judgeMark(subject, asOther(rule), before, { value: value!, mask: mask ?? ~0 });
}

const isZone = ({ words }: Rule): boolean => words.some((word) => /^--zone/.test(word));

const isNotrack = (rule: Rule): boolean =>
  target(rule) === 'NOTRACK' || rule.words.includes('--notrack');
