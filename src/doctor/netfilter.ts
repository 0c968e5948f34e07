import type { DoctorFacts, Link, Subject } from './facts.js';
import { error, given, ok, warning, type Judged } from './finding.js';
import { carriers } from './links.js';
import {
  choosesBefore,
  dropsArp,
  dropsBefore,
  judgeMark,
  judgeQueueing,
  policyDrops,
  policyDropsArp,
  rejectsBefore,
  untracks,
  usesZone,
  type OtherRule,
} from './other-rules.js';
import { isOurs } from './subjects.js';

/** An object of `nft -j list ruleset`, as far as it is read here. */
export interface Netfilter {
  chain?: Chain;
  rule?: { family: string; table: string; chain: string; handle: number; expr: readonly Expr[] };
  flowtable?: Flowtable;
}

interface Flowtable {
  family: string;
  table: string;
  name: string;
  dev?: string | string[];
}

interface Chain {
  family: string;
  table: string;
  name: string;
  hook?: string;
  prio?: number;
  policy?: string;
  dev?: string | string[];
}

/** One statement of a rule: its name → what it says. */
export type Expr = Readonly<Record<string, unknown>>;

/** The tables that iptables-nft keeps; what is in them is read by iptables-nft-save. */
const XTABLES = ['raw', 'mangle', 'nat', 'filter', 'security'];

type Rule = NonNullable<Netfilter['rule']>;

/** Rules of nft, by other hands, that would keep packets from the decision, or change it. */
export const checkNft = ({ subjects, nft, xtables, links }: DoctorFacts): Judged[] =>
  given('nft rules', [subjects, nft], (all, objects) => {
    const saved = 'known' in xtables && xtables.known.some(({ legacy }) => !legacy);
    const others = objects.filter((object) => !isOfXtables(object, saved));
    const interfaces = 'known' in links ? links.known : [];
    const findings = all.flatMap((subject) => [
      ...judge(subject, others),
      ...judgeArriving(subject, others, interfaces),
    ]);
    return findings.length > 0 ? findings : [ok('nft rules', 'No other rules are in the way')];
  });

function isOfXtables({ chain, rule }: Netfilter, saved: boolean): boolean {
  const { family, table } = chain ?? rule ?? { family: '', table: '' };
  return saved && ['ip', 'ip6'].includes(family) && XTABLES.includes(table);
}

function judge(subject: Subject, objects: readonly Netfilter[]): Judged[] {
  const chains = objects.flatMap(({ chain }) => chain ?? []);
  const rules = objects.flatMap(({ rule }) => rule ?? []);
  const hooked = (hook: string): Chain[] =>
    chains.filter((chain) => chain.hook === hook && !isOurs(chain.table));
  return [
    ...rules.flatMap((rule) => judgeQueue(subject, rule)),
    ...hooked('prerouting').flatMap((chain) =>
      reached(chain, rules).flatMap((rule) => judgeRule(subject, chain, rule)),
    ),
    ...hooked('prerouting')
      .filter(({ policy, prio = 0 }) => policy === 'drop' && prio < subject.priority)
      .map((chain) => policyDrops('nft rules', named(chain))),
    ...judgeArp(subject, chains, rules),
  ];
}

/** What keeps neighbours from being told where a cluster address is. */
function judgeArp({ shared }: Subject, all: readonly Chain[], rules: readonly Rule[]): Judged[] {
  if (shared.length === 0) return [];
  const chains = all.filter(
    ({ family, table, hook }) => family === 'arp' && hook !== undefined && !isOurs(table),
  );
  return chains.flatMap((chain) => [
    ...(chain.policy === 'drop' ? [policyDropsArp(named(chain))] : []),
    ...reached(chain, rules)
      .filter(({ expr }) => JSON.stringify(expr).includes('{"drop":null}'))
      .map((rule) => dropsArp(asOther(rule))),
  ]);
}

/** The rules of a chain and of those that it jumps to. */
function reached(
  chain: Pick<Chain, 'family' | 'table' | 'name'>,
  rules: readonly Rule[],
  seen = new Set<string>(),
): Rule[] {
  if (seen.has(chain.name)) return [];
  seen.add(chain.name);
  const own = rules.filter(
    ({ family, table, chain: name }) =>
      family === chain.family && table === chain.table && name === chain.name,
  );
  return own.flatMap((rule) => [
    rule,
    ...targets(rule.expr).flatMap((name) => reached({ ...chain, name }, rules, seen)),
  ]);
}

const targets = (expr: unknown): string[] =>
  [...JSON.stringify(expr).matchAll(/"(?:jump|goto)":\{"target":"([^"]+)"\}/g)].map(
    ([, name]) => name!,
  );

function judgeQueue(subject: Subject, rule: Rule): Judged[] {
  const queue = rule.expr.flatMap((expr) => (expr['queue'] as QueueStatement | undefined) ?? [])[0];
  if (queue === undefined) return [];
  const numbers = queueNumbers(queue);
  if (numbers === undefined) {
    return [
      warning('queue users', `A rule in ${asOther(rule).place} chooses its queue by a map`, {
        remedy: 'Make sure that none of its queues is ours',
      }),
    ];
  }
  const bypass = [queue.flags ?? []].flat().includes('bypass');
  const queueing = {
    numbers,
    bypass: bypass ? 'queues with bypass' : undefined,
    within: rule.table,
  };
  return judgeQueueing(subject, asOther(rule), queueing);
}

interface QueueStatement {
  /** A number, a range, a hash or another expression that counts up to `mod`; or a map. */
  num?: number | Readonly<Record<string, unknown>>;
  flags?: string | string[];
}

/** First and last; undefined where a rule does not say it. */
function queueNumbers({ num = 0 }: QueueStatement): [number, number] | undefined {
  if (typeof num === 'number') return [num, num];
  if (num['range'] !== undefined) return num['range'] as [number, number];
  const { mod, offset = 0 } = Object.values(num)[0] as { mod?: number; offset?: number };
  return mod === undefined ? undefined : [offset, offset + mod - 1];
}

function judgeRule(subject: Subject, chain: Chain, rule: Rule): Judged[] {
  if (!concerns(rule, subject.interfaces)) return [];
  const before = (chain.prio ?? 0) < subject.priority;
  const text = JSON.stringify(rule.expr);
  const other = asOther(rule);
  if (!subject.stateless && text.includes('{"notrack":null}')) return [untracks(other)];
  return [
    ...(subject.looksUp && isZone(text) ? [usesZone(other)] : []),
    ...(before ? endsBefore(rule, text) : []),
    ...judgeMark(subject, other, before, markBits(rule.expr)),
  ];
}

/** Of a rule ahead of ours: whether it lets packets go no further. */
const endsBefore = (rule: Rule, text: string): Judged[] => [
  ...(text.includes('{"drop":null}') ? [dropsBefore('nft rules', asOther(rule))] : []),
  ...(text.includes('{"reject":') ? [rejectsBefore('nft rules', asOther(rule))] : []),
  // The map's elements are not listed.
  ...[...text.matchAll(/\{"vmap":\{"key":.*?"data":"@([^"]+)"/g)].map(([, map]) =>
    choosesBefore('nft rules', asOther(rule), map!),
  ),
];

const isZone = (expr: string): boolean => /"mangle":\{"key":\{"ct":\{"key":"zone"/.test(expr);

/** The bits that a rule sets in the mark, and those that it writes. */
function markBits(expr: readonly Expr[]): { value: number; mask: number } {
  for (const statement of expr) {
    const { key, value } = (statement['mangle'] ?? {}) as { key?: unknown; value?: unknown };
    if (JSON.stringify(key) !== '{"meta":{"key":"mark"}}') continue;
    if (typeof value === 'number') return { value, mask: ~0 };
    const or = (value as { '|'?: [unknown, unknown] } | null)?.['|']?.[1];
    if (typeof or === 'number') return { value: or, mask: or };
    return { value: 0, mask: ~0 };
  }
  return { value: 0, mask: 0 };
}

/** Whether a rule sets a mark, other than ours and those that iptables-nft keeps. */
export const setsMark = (objects: readonly Netfilter[]): boolean =>
  objects.some(
    (object) =>
      object.rule !== undefined &&
      !isOurs(object.rule.table) &&
      !isOfXtables(object, true) &&
      markBits(object.rule.expr).mask !== 0,
  );

/** Whether a rule may see what enters by these interfaces. */
function concerns({ expr }: Rule, interfaces: readonly string[]): boolean {
  const names = expr.flatMap(entering);
  return names.length === 0 || names.some((name) => interfaces.includes(name));
}

function entering(statement: Expr): string[] {
  const match = statement['match'] as { op: string; left: unknown; right: unknown } | undefined;
  const key = JSON.stringify(match?.left);
  if (key !== '{"meta":{"key":"iifname"}}' && key !== '{"meta":{"key":"iif"}}') return [];
  if (match!.op !== '==') return [];
  const { right } = match!;
  const set = typeof right === 'string' ? [right] : (right as { set?: string[] }).set;
  // A wildcard may stand for any interface.
  return set?.some((name) => typeof name !== 'string' || name.endsWith('*')) === false ? set : [];
}

/**
 * What takes packets as they arrive on a device, ahead of our rules, even if IP receives them on a bridge or VLAN
 * above it.
 */
function judgeArriving(
  { interfaces }: Subject,
  objects: readonly Netfilter[],
  links: readonly Link[],
): Judged[] {
  const devices = new Set(interfaces.flatMap((name) => [name, ...carriers(name, links)]));
  const among = (dev: string | string[]): string[] =>
    [...devices].filter((name) => [dev].flat().some((device) => covers(device, name)));
  const rules = objects.flatMap(({ rule }) => rule ?? []);
  return objects.flatMap(({ chain, flowtable }) => {
    if (flowtable !== undefined)
      return judgeFlowtable(flowtable, among(flowtable.dev ?? []), rules);
    if (chain?.hook !== 'ingress' || isOurs(chain.table)) return [];
    // Not every nft says in JSON which these are.
    return judgeIngress(chain, among(chain.dev ?? '*'), rules);
  });
}

function judgeIngress(chain: Chain, on: readonly string[], rules: readonly Rule[]): Judged[] {
  if (on.length === 0 || reached(chain, rules).length === 0) return [];
  const see = chain.dev === undefined ? 'may see' : 'see';
  return [
    warning('ingress', `Rules in ${named(chain)} ${see} the packets of ${on.join(', ')} first`, {
      remedy: 'Make sure that they neither drop nor redirect what is for the cluster',
    }),
  ];
}

function judgeFlowtable(
  { family, table, name }: Flowtable,
  on: readonly string[],
  rules: readonly Rule[],
): Judged[] {
  if (on.length === 0) return [];
  const place = `The flowtable ${family} ${table} ${name}`;
  const used = rules.some(
    (rule) =>
      rule.family === family &&
      rule.table === table &&
      JSON.stringify(rule.expr).includes(`"flowtable":"@${name}"`),
  );
  const remedy =
    'Take these interfaces out of it: packets of the flows in it are forwarded without a decision';
  const flows = `flows of ${on.join(', ')}`;
  return [
    used
      ? error('flowtable', `${place} takes ${flows}`, { remedy })
      : warning('flowtable', `${place} could take ${flows}: no rule adds any now`, { remedy }),
  ];
}

/** Whether a device as rules name it, which may end with a wildcard, is this interface. */
const covers = (device: string, name: string): boolean =>
  device.endsWith('*') ? name.startsWith(device.slice(0, -1)) : device === name;

const named = ({ family, table, name }: Chain): string => `nft's ${family} ${table} ${name}`;
const asOther = ({ family, table, chain, handle }: Rule): OtherRule => ({
  place: `nft's ${family} ${table} ${chain}`,
  deletion: {
    program: 'nft',
    args: ['delete', 'rule', family, table, chain, 'handle', `${handle}`],
  },
});
