import { range } from '../options/buckets.js';
import { NfqClusterError } from '../errors.js';
import type { ResolvedOptions } from '../options/types.js';
import { duplicateOf, unused } from './changes.js';
import type { Facts } from './facts.js';
import { listenedQueues } from './held.js';
import { connmarkOf, digest, isMadeOf, parseMarkers, type Markers } from './markers.js';
import { rememberedOptions } from './remembered.js';
import { nameOf, rulesName, type Mechanism } from './ruleset.js';
import type { Traces } from './traces.js';
import { hex, queuesFrom } from './words.js';

/** @throws NfqClusterError `ERR_NO_INTERFACE`; `ERR_INVALID_OPTION` if no packet arrives on it */
export function checkInterfaces({ interfaces, netns }: ResolvedOptions, facts: Facts): void {
  for (const { name } of interfaces) {
    const found = facts.interfaces[name];
    if (found?.arrivesOn !== undefined) throw arrivesElsewhere(name, found.arrivesOn);
    if (found !== undefined) continue;
    const where = netns === undefined ? '' : ' in that network namespace';
    throw new NfqClusterError('ERR_NO_INTERFACE', `There is no interface ${name}${where}`, {
      expected: 'an interface that exists',
      found: name,
      remedy: 'The command "ip link" lists those that exist',
    });
  }
}

/** Rules that name it would match nothing, and let everything pass undecided. */
const arrivesElsewhere = (name: string, of: string): NfqClusterError =>
  new NfqClusterError(
    'ERR_INVALID_OPTION',
    `What ${name} receives arrives on ${of}, as rules see it`,
    {
      expected: 'an interface on which packets arrive',
      found: name,
      remedy: `Name ${of} instead`,
    },
  );

/** @throws NfqClusterError `ERR_CONFLICT` where the kernel has a cluster address, and does not use it */
export function checkDuplicates({ interfaces }: ResolvedOptions, facts: Facts): void {
  for (const { name, addresses } of interfaces) {
    for (const { address } of addresses) {
      const found = duplicateOf({ kind: 'address', value: address }, facts.interfaces[name]);
      if (found === undefined) continue;
      throw conflict(
        unused(found, name),
        `Have nothing but the setup add it, which does so without detection, and take it away ("ip address del ${found} dev ${name}")`,
      );
    }
  }
}

/** @throws NfqClusterError `ERR_CONFLICT` where another setup has a queue in common */
export function checkQueues(options: ResolvedOptions, { traces }: Facts): void {
  const { queues } = options;
  for (const { name, queues: other } of otherSetups(options, traces)) {
    if (other === undefined) continue;
    const [first, last] = other;
    if (queues.at(-1)! < first || queues[0]! > last) continue;
    throw conflict(
      `The setup ${name} already uses ${queuesFrom(first, last)}; asked for: ${queuesFrom(queues[0]!, queues.at(-1)!)}`,
      `Choose other queues, or revert it ("nfq-cluster revert --name ${name}")`,
    );
  }
}

/** @throws NfqClusterError `ERR_CONFLICT` where another setup's rules tell something else by the same bits of connmarks */
export function checkConnmarks(options: ResolvedOptions, { traces }: Facts): void {
  const [own] = connmarkOf(options);
  if (own === undefined) return;
  for (const { name, connmark: other } of otherSetups(options, traces)) {
    if (other === undefined || (own.bits & other.bits) === 0) continue;
    if (own.bits === other.bits && own.told === other.told) continue;
    throw conflict(
      `The setup ${name} keeps something else in the connmark bits ${hex(other.bits)}, which overlap ${hex(own.bits)}`,
      `Give one of them a different marks.bucket, or revert it ("nfq-cluster revert --name ${name}")`,
    );
  }
}

const otherSetups = (own: ResolvedOptions, { setups }: Traces): (Markers & { name: string })[] =>
  Object.entries(setups)
    .filter(([table]) => table !== rulesName(own))
    .map(([table, setup]) => ({ name: nameOf(table), ...parseMarkers(setup?.chains) }));

/**
 * Whether a setup of this name may replace what is there: always the same setup; another that stands, if that was
 * asked for; and under an engine that decides, which relies on its rules, one that differs only in addresses and MACs.
 * @param own queues that this process listens on
 * @throws NfqClusterError `ERR_CONFLICT`
 */
export async function checkName(
  options: ResolvedOptions,
  mechanism: Mechanism,
  { traces }: Facts,
  replace: boolean,
  own: readonly number[],
): Promise<void> {
  const { name, netns } = options;
  const there = parseMarkers(traces.nftChains);
  const { standing, queues } = there;
  if (isMadeOf(options, there) && isMadeBy(mechanism, traces)) return;
  const other = isMadeOf(options, there) ? 'rules of another kind' : 'other options';
  if (standing !== undefined && !replace) {
    throw conflict(
      `A setup named ${name} is in place with ${other}`,
      `Choose another name, revert it ("nfq-cluster revert --name ${name}"), or replace it`,
    );
  }
  if (successor(options, mechanism, traces) !== undefined) return;
  const [first, last] = queues ?? [];
  if (first === undefined || last === undefined) return;
  const listened = (await listenedQueues(netns)) ?? range(last - first + 1, first);
  if (!listened.some((queue) => queue >= first && queue <= last && !own.includes(queue))) return;
  throw conflict(
    `An engine named ${name} decides the packets of ${queuesFrom(first, last)}, with ${other}`,
    `Choose another name, or close it; if it is gone, run "nfq-cluster revert --name ${name}"`,
  );
}

/**
 * The options of the setup that stands, if those given make the same one except for shared addresses and MACs: an
 * engine goes on deciding while one replaces the other. Not with offload, whose sets would go with it.
 */
export function successor(
  options: ResolvedOptions,
  mechanism: Mechanism,
  traces: Traces,
): ResolvedOptions | undefined {
  const { standing } = parseMarkers(traces.nftChains);
  if (standing === undefined || !isMadeBy(mechanism, traces)) return undefined;
  if (options.offload.length > 0) return undefined;
  const found = rememberedOptions(options, traces);
  if (found === undefined) return undefined;
  return digest(sharingNothing(found)) === digest(sharingNothing(options)) ? found : undefined;
}

const sharingNothing = (options: ResolvedOptions): ResolvedOptions => ({
  ...options,
  interfaces: options.interfaces.map(({ name, key }) => ({
    name,
    key,
    addresses: [],
    mac: undefined,
    group: undefined,
    destinations: 'all',
  })),
});

/**
 * Whether its rules are of this kind: with xtables, packets return to their hook, else not. Under an engine that
 * answers for the other kind they would circle.
 */
export const isMadeBy = ({ kind }: Mechanism, { xtables }: Traces): boolean =>
  (kind === 'xtables') === xtables.some(({ chain }) => chain);

const conflict = (summary: string, remedy: string): NfqClusterError =>
  new NfqClusterError('ERR_CONFLICT', summary, { remedy });
