import { createHash } from 'node:crypto';
import { keepsBucket } from '../options/conntrack.js';
import type { ResolvedOptions } from '../options/types.js';
import { isClusterip } from './clusterip.js';
import { bucketRules, directRules, needsConntrack } from './connections.js';
import { knownAddresses, knownConnections } from './offload.js';
import type { Traces } from './traces.js';

/*
 * What has to be known about a setup later is recorded in its nft table, by chains without a hook: so it exists
 * as long as the rules do, in the same namespace, and changes together with them.
 */

/** The chain that remembers what was changed outside the rules. */
export const UNDO = 'undo';

/**
 * The chain that remembers the options, so that the setup can be put back where another in its place fails. Not
 * `options`, which nft 1.0.2 takes for a word of its own.
 */
export const OPTIONS = 'its-options';

const QUEUES = 'queues-';
const STANDING = 'standing-';
const RUN = 'run-';
const CONNMARK = 'connmark-';

/** What is remembered of a setup. */
export interface Markers {
  /** First and last queue number. */
  queues: readonly [number, number] | undefined;
  /** A digest of the options, where the setup is to stand until it is reverted. */
  standing: string | undefined;
  /** Bits of the connmark that its rules set, and a digest of what they mean. */
  connmark: { bits: number; told: string } | undefined;
  /** A digest of the options, where the setup ends with an engine, and which of its name's engines that is. */
  run: { digest: string; id: string } | undefined;
}

/** @param run of the engine with which the setup ends; undefined if it is to stand until it is reverted */
export function markersOf(options: ResolvedOptions, run: string | undefined): string[] {
  const { queues } = options;
  return [
    `${QUEUES}${queues[0]!}-${queues.at(-1)!}`,
    run === undefined ? standingOf(options) : runOf(options, run),
    ...connmarkOf(options).map(({ bits, told }) => `${CONNMARK}${bits.toString(16)}-${told}`),
  ];
}

const standingOf = (options: ResolvedOptions): string => `${STANDING}${digest(options)}`;
const runOf = (options: ResolvedOptions, run: string): string => `${RUN}${digest(options)}-${run}`;

/**
 * The markers by one of which an engine recognizes its own setup, even if apply() has made it a standing one since.
 * @param run as of `markersOf`
 */
export const markersOfOwn = (options: ResolvedOptions, run: string | undefined): string[] => [
  ...(run === undefined ? [] : [runOf(options, run)]),
  standingOf(options),
];

export const isMarker = (chain: string): boolean =>
  [QUEUES, STANDING, RUN, CONNMARK].some((prefix) => chain.startsWith(prefix));

export function parseMarkers(chains: readonly string[] = []): Markers {
  const behind = (prefix: string): string | undefined =>
    chains.find((chain) => chain.startsWith(prefix))?.slice(prefix.length);
  const [first, last] = behind(QUEUES)?.split('-').map(Number) ?? [];
  const [made, id] = behind(RUN)?.split('-') ?? [];
  const [bits, told] = behind(CONNMARK)?.split('-') ?? [];
  return {
    queues: first === undefined || last === undefined ? undefined : [first, last],
    standing: behind(STANDING),
    connmark:
      bits === undefined || told === undefined ? undefined : { bits: parseInt(bits, 16), told },
    run: made === undefined || id === undefined ? undefined : { digest: made, id },
  };
}

/** Whether a setup of this name is there; what ERR_HELD leaves is none. */
export const hasSetup = ({ nftChains = [], xtables }: Traces): boolean =>
  nftChains.some(isMarker) || xtables.some(({ chain }) => chain);

/** Whether what is there was made of options that lead to the same setup. */
export const isMadeOf = (options: ResolvedOptions, { standing, run }: Markers): boolean =>
  (standing ?? run?.digest) === digest(options);

/** Equal for options that lead to the same setup. */
export function digest(options: ResolvedOptions): string {
  const { interfaces, queues, queueCpuFanout, action, marks } = options;
  const whatever = { owned: '', foreign: '' };
  const known = [...knownConnections(options), ...knownAddresses(options, whatever)];
  const connections = needsConntrack(options) && directRules(options);
  const given = bucketRules(options);
  const clusterip = isClusterip(options);
  const setup = JSON.stringify({
    interfaces,
    queues,
    queueCpuFanout,
    action,
    marks,
    connections,
    known,
    given,
    clusterip,
  });
  return short(setup);
}

/** What the rules set in connmarks: a bucket's bits, by their hash; with policy `clusterip` the whole mark. */
export function connmarkOf(options: ResolvedOptions): { bits: number; told: string }[] {
  if (isClusterip(options)) return [{ bits: 0xffff_ffff, told: 'node' }];
  if (!keepsBucket(options)) return [];
  return [{ bits: options.marks.bucket, told: short(bucketRules(options).join()) }];
}

const short = (text: string): string =>
  createHash('sha256').update(text).digest('hex').slice(0, 12);
