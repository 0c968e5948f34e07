import { counts, summary } from '../control/status.js';
import type { Engine } from '../engine.js';
import type { ResolvedInterface } from '../options/types.js';
import type { Stats } from '../stats.js';

/*
 * What `run` writes: lines for people, or with --json one object a line, told apart by `event`:
 * `ready` first, `stats` every second, `closed` last. Counts in `stats` and `closed` are since the start;
 * `second` in `stats` is their growth.
 */

export interface Format {
  ready(engine: Engine): string;
  second(growth: Stats, total: Stats): string;
  totals(total: Stats): string;
}

export const json: Format = {
  ready: (engine) => line({ event: 'ready', pid: process.pid, ...summary(engine) }),
  second: (growth, total) => line({ event: 'stats', ...counts(total), second: counts(growth) }),
  totals: (total) =>
    line({
      event: 'closed',
      ...counts(total),
      buckets: total.buckets,
      batchSizes: total.batchSizes,
    }),
};

const COLUMNS = [
  'received/s',
  'owned/s',
  'foreign/s',
  'unknown',
  'malformed',
  'lost',
  'p50 us',
  'p99 us',
];

export const text: Format = {
  ready: () => row(COLUMNS),
  second: (growth) => {
    const { received, owned, foreign, unknown, malformed, latency } = growth;
    return row([
      received,
      owned,
      foreign,
      unknown,
      malformed,
      lost(growth),
      microseconds(latency, 50),
      microseconds(latency, 99),
    ]);
  },
  totals: (total) => {
    const {
      received,
      owned,
      foreign,
      unknown,
      malformed,
      fixups,
      verdictErrors,
      queueDropped,
      userDropped,
      offloadedOwned,
      offloadedForeign,
    } = total;
    const offloaded =
      offloadedOwned + offloadedForeign === 0
        ? ''
        : `, decided in the kernel ${offloadedOwned} owned and ${offloadedForeign} foreign`;
    return `total: received ${received}, owned ${owned}, foreign ${foreign}, unknown ${unknown}, malformed ${malformed}, \
pkt_type fixed ${fixups}, verdict errors ${verdictErrors}, lost to a full queue ${queueDropped}, \
lost to a full receive buffer ${userDropped}${offloaded}\n`;
  },
};

/** What `run` chose, in one line for standard error. */
export function readyMessage(engine: Engine): string {
  const { options, ownership } = engine;
  const { rules, owned, buckets, queues, interfaces } = summary(engine);
  const entries = interfaces.map(interfaceText).join(', ');
  const until = ownership.validFor === Infinity ? '' : ` for ${Math.round(ownership.validFor)} ms`;
  const by = rules === null ? 'no rules of ours' : `rules by ${rules.by} named ${rules.name}`;
  return `ready: owning ${owned} of ${buckets} buckets${until} by ${options.policy}, action ${options.action}, \
${entries} on queue ${queues.join(', ')}, ${by}`;
}

/** An interface, and what is hashed there if it is not the source. */
export const interfaceText = ({ name, key }: ResolvedInterface): string =>
  key === 'source' ? name : `${name} by ${key}`;

const lost = (stats: Stats): number => stats.queueDropped + stats.userDropped;

const microseconds = (latency: Stats['latency'], percent: number): string =>
  latency.count === 0 ? '-' : (latency.percentile(percent) / 1000).toFixed(1);

const row = (cells: readonly (string | number)[]): string =>
  `${cells.map((cell) => String(cell).padStart(10)).join(' ')}\n`;

const line = (value: object): string => `${JSON.stringify(value)}\n`;
