/* The loads of the bench of packets, and their names. */
import type { Load } from './traffic.js';

export const FIXED_RATE = 120_000;
/** Packets of a held backlog. */
export const BACKLOG = 40_000;

export type Condition = Omit<Load, 'seconds'>;

export const BASE: Condition = { family: 4, size: 64, sources: 4096, rate: 0 };
const FIXED: Condition = { ...BASE, rate: FIXED_RATE };
export const BATCHES: Condition = { ...FIXED, xdp: true };
export const FLOOD: Condition = { ...BASE, xdp: true };
export const STEERED: Condition = { ...BATCHES, steered: true };
export const BY_BOTH: Condition = { ...BATCHES, everywhere: true };
export const FLOOD_BY_BOTH: Condition = { ...FLOOD, everywhere: true };
const ONE_SOURCE: Condition = { ...BASE, sources: 1 };
const MILLION_SOURCES: Condition = { ...BASE, sources: 1_000_000 };
export const CONDITIONS: readonly Condition[] = [
  BASE,
  FIXED,
  FLOOD,
  ONE_SOURCE,
  MILLION_SOURCES,
  { ...BASE, size: 1400 },
  { ...BASE, family: 6 },
];

/** In full batches, where a thread wakes as often however much a packet costs. */
export const BY_SOURCES: readonly Condition[] = [
  { ...BATCHES, sources: 1 },
  BATCHES,
  { ...BATCHES, sources: MILLION_SOURCES.sources, known: true },
  { ...BATCHES, sources: MILLION_SOURCES.sources },
];

/** A condition's name. */
export const title = ({ family, size, sources, ...pace }: Condition): string =>
  `${size} B, IPv${family}, ${sources} sources, ${paceOf(pace)}`;

type Pace = Pick<Condition, 'rate' | 'xdp' | 'everywhere' | 'steered'>;

function paceOf({ rate, xdp, everywhere, steered }: Pace): string {
  const by = everywhere === true ? ', by both processors' : steered === true ? ', by RPS' : '';
  if (rate !== 0) return `${rate}/s${xdp === true ? ', in batches of 64' : ''}${by}`;
  return xdp === true ? `flood${by}` : 'as fast as possible';
}

/** The name of a condition of BY_SOURCES. */
export function allOwned({ sources, known }: Condition): string {
  const kind = sources <= BASE.sources || known === true ? 'known' : 'new';
  return `${sources} ${kind} ${sources === 1 ? 'source' : 'sources'}, all owned, decided where they are received`;
}

/** The conditions' names. */
export const CONDITION = {
  base: title(BASE),
  fixed: title(FIXED),
  batches: title(BATCHES),
  whereReceived: `${title(BATCHES)}, decided where they are received`,
  steered: title(STEERED),
  byBoth: title(BY_BOTH),
  floodByBoth: title(FLOOD_BY_BOTH),
  flood: title(FLOOD),
  millionSources: title(MILLION_SOURCES),
  belowTheMatch: "0.9 of the kernel's rate",
  established: 'all owned, all established',
  establishedFlood: 'all owned, all established, flood',
  byBuckets: `${FIXED_RATE}/s, all owned, by buckets`,
  tenMillion: 'ten million packets',
  backlog: `a held backlog of ${BACKLOG}`,
};
