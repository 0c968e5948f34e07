import { range } from '../options/buckets.js';
import { resolveMarks } from '../options/marks.js';
import type { ResolvedOptions } from '../options/types.js';
import { wantedChanges } from '../setup/changes.js';
import { rulesAreWanted } from '../setup/compare.js';
import type { Facts } from '../setup/facts.js';
import { digest, parseMarkers } from '../setup/markers.js';
import { chainBefore, names, rulesName, type Mechanism } from '../setup/ruleset.js';
import { needsConntrack } from '../setup/connections.js';
import { setups, statusOf, type SetupStatus } from '../setup/status.js';
import { isClean } from '../setup/traces.js';
import type { Subject } from './facts.js';
import type { Netfilter } from './netfilter.js';

const PREFIX = rulesName({ name: '' });

/** Whether a table, or a chain of xtables, was made by this package. */
export const isOurs = (name: string): boolean => name.startsWith(PREFIX);

/** Whether one of these queue numbers lies between two, both included. */
export const overlaps = ([first, last]: readonly [number, number], queues: readonly number[]) =>
  queues.some((queue) => queue >= first && queue <= last);

/** The setup that the options describe. */
export async function subjectOf(
  options: ResolvedOptions,
  mechanism: Mechanism | undefined,
  facts: Facts,
): Promise<Subject> {
  const { name, queues, interfaces, action, marks } = options;
  const rules = options.rules === 'none' || !isClean(facts.traces);
  return {
    name,
    queues,
    interfaces: names(options),
    narrow: interfaces.flatMap(({ name: on, destinations }) =>
      destinations === 'addresses' ? [on] : [],
    ),
    rules,
    compared: rules ? await compared(options, mechanism, facts) : undefined,
    changes: wantedChanges(options, facts).map(({ change }) => change),
    shared: interfaces.flatMap(({ name: on, mac, addresses }) =>
      mac === undefined ? [] : addresses.map(({ address }) => ({ address, mac, on })),
    ),
    priority: chainBefore(mechanism?.kind ?? 'nft').priority,
    stateless: !needsConntrack(options),
    looksUp: ['auto', 'netlink'].includes(options.conntrack) && options.offload.length === 0,
    action,
    marks,
  };
}

async function compared(
  options: ResolvedOptions,
  mechanism: Mechanism | undefined,
  facts: Facts,
): Promise<Subject['compared']> {
  if (options.rules === 'none') return 'own';
  const { standing } = parseMarkers(facts.traces.nftChains);
  if (standing !== undefined && standing !== digest(options)) return 'other options';
  const same = mechanism && (await rulesAreWanted(options, mechanism, facts));
  return same === undefined ? 'unknown' : same ? 'same' : 'changed';
}

/** The setups that stand in a namespace, as far as they themselves tell. */
export async function standingSubjects(
  netns: string | undefined,
  nft: readonly Netfilter[],
): Promise<Subject[]> {
  const subjects: Subject[] = [];
  for (const name of await setups(netns)) subjects.push(ofStatus(await statusOf(name, netns), nft));
  return subjects;
}

function ofStatus(
  { name, rules, queues, changes }: SetupStatus,
  nft: readonly Netfilter[],
): Subject {
  const [first, last] = queues ?? [0, -1];
  const kind = nft.some(
    ({ chain }) =>
      chain?.table === rulesName({ name }) && chain.name === chainBefore('xtables').name,
  )
    ? 'xtables'
    : 'nft';
  const on = changes.filter((change) => change.kind !== 'sysctl').map((change) => change.on);
  const address = changes.filter((change) => change.kind === 'address');
  return {
    name,
    queues: range(last - first + 1, first),
    interfaces: [...new Set([...on, ...entering(name, nft)])],
    narrow: [],
    rules,
    compared: undefined,
    changes,
    shared: address.flatMap((change) => {
      const mac = changes.find((other) => other.kind === 'mac' && other.on === change.on)?.value;
      const [alone] = change.value.split('/');
      return mac === undefined ? [] : [{ address: alone!, mac, on: change.on }];
    }),
    priority: chainBefore(kind).priority,
    stateless: !rulesOf(name, nft).some(asksForState),
    looksUp: false,
    action: undefined,
    // What the option would be if it were not given.
    marks: resolveMarks(undefined, {
      policy: 'jhash',
      rules: 'auto',
      buckets: 1,
      conntrack: 'auto',
      offload: [],
    }),
  };
}

const asksForState = (rule: Rule): boolean =>
  JSON.stringify(rule.expr).includes('{"ct":{"key":"state"}}');

type Rule = NonNullable<Netfilter['rule']>;

interface Match {
  left?: { meta?: { key?: string } };
  right?: unknown;
}

/** The rules of a setup before the queue. */
const rulesOf = (name: string, nft: readonly Netfilter[]): Rule[] =>
  nft.flatMap(({ rule }) =>
    rule?.table === rulesName({ name }) && rule.chain.startsWith('before-') ? [rule] : [],
  );

/** The interfaces in the first rule of a setup that names any. */
function entering(name: string, nft: readonly Netfilter[]): string[] {
  const naming = rulesOf(name, nft)
    .map(({ expr: [first] }) => first?.['match'] as Match | undefined)
    .find((match) => match?.left?.meta?.key === 'iifname');
  const right = naming?.right;
  if (typeof right === 'string') return [right];
  return (right as { set?: string[] } | undefined)?.set ?? [];
}
