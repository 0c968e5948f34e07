/* What a rule by other hands, of nft or of iptables, does to packets that are to be decided. */
import { ourBits } from '../options/marks.js';
import type { Command } from '../setup/exec.js';
import { rulesName } from '../setup/ruleset.js';
import type { Subject } from './facts.js';
import { error, warning, type Judged } from './finding.js';
import { overlaps } from './subjects.js';

export interface OtherRule {
  /** Where it stands, for people. */
  place: string;
  deletion: Command;
}

/** What a rule says of its queue. */
interface Queueing {
  /** First and last. */
  numbers: readonly [number, number];
  /** What says that it bypasses, as part of a sentence; undefined if it does not. */
  bypass: string | undefined;
  /** The rule's table (nft) or chain (xtables), which may be ours. */
  within: string;
}

export function judgeQueueing(
  { queues, name, compared }: Subject,
  { place, deletion }: OtherRule,
  { numbers, bypass, within }: Queueing,
): Judged[] {
  if (!overlaps(numbers, queues)) return [];
  const own = within === rulesName({ name });
  if (bypass !== undefined) {
    return [
      error(
        'bypass',
        `A rule in ${place} ${bypass}: when nobody listens, every node accepts every packet`,
        own
          ? { remedy: 'Run "nfq-cluster apply" with the options of the setup' }
          : { command: deletion },
      ),
    ];
  }
  if (own || compared === 'own') return [];
  return [
    error('queue users', `A rule in ${place} sends packets to our queues`, { command: deletion }),
  ];
}

export const untracks = ({ place, deletion }: OtherRule): Judged =>
  error(
    'notrack',
    `A rule in ${place} exempts packets from connection tracking: no node owns them`,
    { command: deletion },
  );

export const usesZone = ({ place }: OtherRule): Judged =>
  warning(
    'zones',
    `A rule in ${place} puts packets into a conntrack zone: conntrack 'netlink' does not look there, and drops replies`,
    { remedy: "Unless conntrack is 'queue' (see nfq-cluster status), use --conntrack mark" },
  );

export const dropsBefore = (check: string, { place, deletion }: OtherRule): Judged =>
  warning(check, `A rule in ${place} drops packets before they are decided`, { command: deletion });

export const rejectsBefore = (check: string, { place, deletion }: OtherRule): Judged =>
  warning(
    check,
    `A rule in ${place} rejects packets before they are decided: every node answers them`,
    { command: deletion },
  );

export const choosesBefore = (check: string, { place }: OtherRule, map: string): Judged =>
  warning(
    check,
    `A rule in ${place} takes verdicts from the map ${map}, before packets are decided`,
    { remedy: 'Make sure that it drops nothing that is for the cluster' },
  );

export const policyDrops = (check: string, place: string): Judged =>
  warning(check, `The policy of ${place} drops packets before they are decided`, {
    remedy: 'Let it accept what is for the cluster',
  });

export const dropsArp = ({ place, deletion }: OtherRule): Judged =>
  warning('nft rules', `A rule in ${place} drops ARP, by which a cluster address is found`, {
    command: deletion,
  });

export const policyDropsArp = (place: string): Judged =>
  warning('nft rules', `The policy of ${place} drops ARP, by which a cluster address is found`, {
    remedy: 'Let it accept what is about the cluster',
  });

/**
 * Judges a rule that sets the bits `value` and overwrites all of `mask`: ahead of our rules, which would take such
 * bits for their own, or behind them, where it may overwrite the mark of owned packets.
 */
export function judgeMark(
  { marks, action = 'drop' }: Subject,
  { place }: OtherRule,
  before: boolean,
  { value, mask }: { value: number; mask: number },
): Judged[] {
  const overwritten = action === 'mark' ? mask & marks.owned.mask : 0;
  const touched = before ? value & ourBits({ marks, action }) : overwritten;
  if (touched === 0) return [];
  return [
    warning('marks', `A rule in ${place} sets bits of the mark that are ours`, {
      remedy:
        'Use other bits there, or choose ours by --mark, --multicast-bit, --decided-bit, --direct-bit and --bucket-bits',
    }),
  ];
}
