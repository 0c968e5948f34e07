import { randomBytes } from 'node:crypto';
import { keepsBucket } from '../options/conntrack.js';
import { NfqClusterError } from '../errors.js';
import { fromNative, native } from '../native.js';
import { netnsPath } from '../netns.js';
import type { ResolvedOptions } from '../options/types.js';
import type { Change } from './changes.js';
import { readFacts, type Facts } from './facts.js';
import { digest, hasSetup, isMadeOf, markersOfOwn, parseMarkers } from './markers.js';
import { closing, installation, leaving } from './plan.js';
import { listenedQueues } from './held.js';
import { chooseMechanism } from './probe.js';
import { rememberedOptions } from './remembered.js';
import {
  checkConnmarks,
  checkDuplicates,
  checkInterfaces,
  checkName,
  checkQueues,
  isMadeBy,
  successor,
} from './refuse.js';
import { setOwned, type Owning, type OwnSets } from './owned.js';
import { chainBefore, names, tableName, type Mechanism } from './ruleset.js';
import { take, type Step } from './step.js';
import { inTurn } from './turn.js';
import { takeRest, uninstall } from './uninstall.js';
import { checkWritable } from './writable.js';
import type { Traces } from './traces.js';

/** A setup that stands. Its methods may be called again, also after a failure. */
export interface Installed {
  /** The steps that were taken, or were in place before. */
  readonly steps: readonly Step[];
  /**
   * Sets what the kernel takes for owned when it decides by itself, in one transaction.
   * @param before what was owned; nothing unless given
   * @throws NfqClusterError `ERR_RULES`; then it is what was owned before or, if nft refuses that as well, nothing
   */
  setOwned(owning: Owning, before?: Owning): Promise<void>;
  /** From now on nothing is queued; under action `drop` every packet that was to be decided is dropped. */
  stopQueueing(): Promise<void>;
  /**
   * Undoes all that was changed. A setup that is to stand beyond this process is left in place, and drops what it
   * would queue.
   */
  remove(): Promise<void>;
  /** The same, just after it was made; but what an earlier run of its name left stays, as it keeps packets out. */
  giveUp(): Promise<void>;
  /**
   * Whether the setup is there and decides, judged by its nft table. While that is being refilled, the answer may be no.
   * @param hasChain whether the table has a chain, with rules in it if that is asked
   */
  isWhole(hasChain: (name: string, withRules: boolean) => boolean): boolean;
  /**
   * If somebody has removed or emptied the rules, undoes everything else.
   * @returns whether that is so: not if a setup has succeeded this one that differs only in shared addresses and MACs,
   *   with which the engine goes on
   */
  removeRest(): Promise<boolean>;
}

/** How an installation treats what it finds. */
interface Installing {
  /**
   * The setup stands until it is reverted, beyond this process.
   * @default false
   */
  standing?: boolean;
  /**
   * Replace a standing setup of this name that has other options.
   * @default false
   */
  replace?: boolean;
  /** What the engine owns that is to decide; none unless given. */
  owning?: Owning;
}

/** The steps that `install` would take now. */
export const planned = async (
  options: ResolvedOptions,
  mechanism: Mechanism,
  installing: Installing,
): Promise<Step[]> => (await prepared(options, mechanism, installing)).steps;

/** What is there, and what leads from there to a setup. */
interface Prepared {
  facts: Facts;
  steps: Step[];
  /** What is to be undone one day. */
  journal: readonly Change[];
  /** The run of the engine with which the setup ends, unless it stands by itself. */
  goesWith: string | undefined;
}

/**
 * Refuses before anything is changed.
 * @param run of the engine that installs
 */
async function prepared(
  options: ResolvedOptions,
  mechanism: Mechanism,
  { standing = false, replace = false }: Installing,
  run?: string,
): Promise<Prepared> {
  const facts = await readable(options);
  checkConnmarks(options, facts);
  checkDuplicates(options, facts);
  // An engine listens before it installs.
  await checkName(options, mechanism, facts, replace, standing ? [] : options.queues);
  const owningNothing = standing && !(await isDecided(options));
  const goesWith = standing || stands(options, facts.traces) ? undefined : run;
  return {
    facts,
    ...installation(options, mechanism, facts, goesWith, owningNothing),
    goesWith,
  };
}

/** What is there; refuses options that the system cannot have. */
export async function readable(options: ResolvedOptions): Promise<Facts> {
  names(options);
  const facts = await readFacts(options);
  checkInterfaces(options, facts);
  checkQueues(options, facts);
  return facts;
}

/**
 * Sets the node up, in the place of what an earlier run of the same name left. Where that fails, nothing
 * is left of what this call made; what an earlier run left is put back, as it keeps foreign packets out.
 * @throws NfqClusterError `ERR_RULES`, `ERR_PRIVILEGE`, `ERR_NO_TOOL`, `ERR_NO_NETNS`,
 *   `ERR_NO_INTERFACE`, `ERR_CONFLICT`, `ERR_READ_ONLY`, and `ERR_INVALID_OPTION` for an interface whose name cannot stand
 *   in a rule
 */
export async function install(
  options: ResolvedOptions,
  mechanism: Mechanism,
  installing: Installing = {},
): Promise<Installed> {
  const { netns } = options;
  // Tells these rules from those of a later engine.
  const run = randomBytes(4).toString('hex');
  const { facts, steps, journal, goesWith } = await inTurn(netns, () =>
    carriedOut(options, mechanism, installing, run),
  );
  const fresh = !hasSetup(facts.traces);
  const { remove, removeRest, isWhole } = removalOf(options, mechanism, { run, goesWith, journal });
  return {
    steps,
    setOwned: (owning, before) => setOwned(ownSetsOf(options, goesWith), owning, before),
    stopQueueing: async () => {
      const now = await readFacts(options);
      if (stands(options, now.traces) || isOf(run, now.traces))
        await take(closing(options, mechanism, now), netns);
    },
    remove: () => inTurn(netns, remove),
    giveUp: async () => (fresh ? inTurn(netns, remove) : undefined),
    isWhole,
    removeRest: () => inTurn(netns, removeRest),
  };
}

/** How a setup that was made is recognized and undone; to be called in turn with others. */
function removalOf(
  options: ResolvedOptions,
  mechanism: Mechanism,
  made: { run: string; goesWith: string | undefined; journal: readonly Change[] },
): Pick<Installed, 'remove' | 'removeRest' | 'isWhole'> {
  const { netns } = options;
  const before = chainBefore(mechanism.kind).name;
  // Emptied once it is undone: what is there later is not this setup's.
  let remembered = made.journal;
  let markers = markersOfOwn(options, made.goesWith);
  const remove = async (): Promise<void> => {
    const facts = await look(options);
    if (stands(options, facts.traces)) await take(leaving(options, mechanism, facts), netns);
    else await takeRest(options, remembered, facts);
    if (isOf(made.run, facts.traces)) await uninstall(options, facts);
    remembered = [];
  };
  const removeRest = async (): Promise<boolean> => {
    const facts = await look(options);
    const { nftChains = [], emptied } = facts.traces;
    const ours = markers.some((marker) => nftChains.includes(marker));
    if (ours && !emptied.includes(before)) return false;
    const next = ours ? undefined : successor(options, mechanism, facts.traces);
    await takeRest(options, remembered, facts);
    if (next === undefined) {
      if (ours || isOf(made.run, facts.traces)) await uninstall(options, facts);
      remembered = [];
      return true;
    }
    remembered = (await look(options)).journal;
    markers = markersOfOwn(next, undefined);
    return false;
  };
  return {
    remove,
    removeRest,
    isWhole: (hasChain) =>
      hasChain(before, true) && markers.some((marker) => hasChain(marker, false)),
  };
}

/** Reads once more if the first time fails, as somebody may be removing what is being read. */
const look = (options: ResolvedOptions): Promise<Facts> =>
  readFacts(options).catch(() => readFacts(options));

/** Refuses, or takes the steps; undoes them where one fails. */
async function carriedOut(
  options: ResolvedOptions,
  mechanism: Mechanism,
  installing: Installing,
  run: string,
): Promise<Prepared> {
  const made = await prepared(options, mechanism, installing, run);
  const { steps, journal, goesWith } = made;
  const { traces } = made.facts;
  await checkWritable(steps, options.netns);
  const former = rememberedOptions(options, traces);
  try {
    await take(steps, options.netns);
    if (installing.owning !== undefined) await begin(options, goesWith, installing.owning);
  } catch (error) {
    if (!hasSetup(traces)) await takeBack(options, journal, error);
    else if (isAnother(options, mechanism, traces)) await putBack(former, traces, error);
    throw error;
  }
  return made;
}

/** Whether what is there would be another setup, also where only its rules are of another kind. */
const isAnother = (options: ResolvedOptions, mechanism: Mechanism, traces: Traces): boolean =>
  !isMadeOf(options, parseMarkers(traces.nftChains)) || !isMadeBy(mechanism, traces);

/** Whether an engine may decide now; a killed one may have left what it owned. */
async function isDecided({ queues, netns }: ResolvedOptions): Promise<boolean> {
  const listened = (await listenedQueues(netns)) ?? queues;
  return queues.some((queue) => listened.includes(queue));
}

/** For an engine that begins: rules may have hashed otherwise until a moment ago. */
async function begin(
  options: ResolvedOptions,
  goesWith: string | undefined,
  owning: Owning,
): Promise<void> {
  if (keepsBucket(options)) {
    const path = netnsPath(options.netns);
    await native.renewConnmarks(path, options.marks.bucket, options).catch((error: unknown) => {
      throw fromNative(error);
    });
  }
  if (options.offload.length > 0) await setOwned(ownSetsOf(options, goesWith), owning);
}

const ownSetsOf = (options: ResolvedOptions, goesWith: string | undefined): OwnSets => ({
  options,
  table: tableName(options),
  markers: markersOfOwn(options, goesWith),
});

/** Undoes what was made where there was nothing; throws if it cannot. */
async function takeBack(
  options: ResolvedOptions,
  journal: readonly Change[],
  error: unknown,
): Promise<void> {
  try {
    const facts = await readFacts(options);
    await takeRest(options, journal, facts);
    await uninstall(options, facts);
  } catch (reason) {
    throw besides(
      error,
      `What had been done could not be undone: ${(reason as Error).message}`,
      `Run "nfq-cluster revert --name ${options.name}"`,
    );
  }
}

/** Restores the setup that was to be replaced; throws if it cannot. */
async function putBack(
  former: ResolvedOptions | undefined,
  traces: Traces,
  error: unknown,
): Promise<void> {
  try {
    if (former === undefined) throw new Error('its options are not known');
    const facts = await readFacts(former);
    const mechanism = await chooseMechanism(former);
    const { run } = parseMarkers(traces.nftChains);
    await take(installation(former, mechanism, facts, run?.id).steps, former.netns);
  } catch (reason) {
    throw besides(
      error,
      `The earlier setup could not be put back: ${(reason as Error).message}`,
      'Parts of both are in place now ("nfq-cluster status --setup"): apply one of them again',
    );
  }
}

/** An error, and what then failed when its effects were undone. */
export function besides(error: unknown, more: string, remedy: string): unknown {
  if (!(error instanceof NfqClusterError)) return error;
  return new NfqClusterError(error.code, `${error.message}. ${more}`, { remedy, cause: error });
}

/** Whether a setup of these options was made to stand. */
const stands = (options: ResolvedOptions, { nftChains }: Traces): boolean =>
  parseMarkers(nftChains).standing === digest(options);

/** Whether what is there, if anything, is of this run, and not of another that has come in its place. */
function isOf(run: string, { nftChains }: Traces): boolean {
  const other = parseMarkers(nftChains);
  return other.standing === undefined && (other.run?.id ?? run) === run;
}
