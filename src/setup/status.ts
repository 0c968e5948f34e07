import type { ResolvedOptions } from '../options/types.js';
import { isInPlace, type Change } from './changes.js';
import { rulesAreWanted } from './compare.js';
import { readFacts, type Facts } from './facts.js';
import { hasSetup, parseMarkers } from './markers.js';
import { installation } from './plan.js';
import { nameOf, type Mechanism } from './ruleset.js';
import { readable } from './setup.js';

/** Which parts of a setup are in place. */
export interface SetupStatus {
  /** The option `name`. */
  name: string;
  /** Whether rules of this name, or any part of them, are in place. */
  rules: boolean;
  /** Whether apply() made it, to stay until revert(); otherwise it belongs to an engine, alive or killed. */
  standing: boolean;
  /** The first and the last queue; undefined if they are not known. */
  queues: readonly [number, number] | undefined;
  /** What it changed besides the rules, in order, and whether that is still so. */
  changes: readonly (Change & { inPlace: boolean })[];
  /** Only if the options were given: each step of the setup, and its state. */
  steps?: readonly StepStatus[];
}

/** A step of a setup, and its state. */
export interface StepStatus {
  what: string;
  /**
   * `changed`: there, but not as the step would make it. `unknown`: no network namespace could be created in
   * which to make rules for comparison.
   */
  state: 'in place' | 'changed' | 'missing' | 'unknown';
}

/** @param name as in the options */
export async function statusOf(name: string, netns: string | undefined): Promise<SetupStatus> {
  const { traces, journal, ...facts } = await readFacts({ name, netns });
  const { standing, queues } = parseMarkers(traces.nftChains);
  return {
    name,
    rules: hasSetup(traces),
    standing: standing !== undefined,
    queues,
    changes: journal.map((change) => ({ ...change, inPlace: isInPlace(change, facts) })),
  };
}

/** Each step that would make a setup where nothing is, beside what is there. */
export async function compared(
  options: ResolvedOptions,
  mechanism: Mechanism,
): Promise<StepStatus[]> {
  const facts = await readable(options);
  const { steps } = installation(options, mechanism, facts, undefined);
  const rules = await rulesState(options, mechanism, facts);
  return steps.map(({ what, program, inPlace }) => {
    if (program !== 'ip' && program !== 'sysctl') return { what, state: rules };
    return { what, state: inPlace ? 'in place' : 'missing' };
  });
}

async function rulesState(
  options: ResolvedOptions,
  mechanism: Mechanism,
  facts: Facts,
): Promise<StepStatus['state']> {
  if (!hasSetup(facts.traces)) return 'missing';
  const same = await rulesAreWanted(options, mechanism, facts);
  return same === undefined ? 'unknown' : same ? 'in place' : 'changed';
}

/** The names of all setups in a namespace. */
export async function setups(netns: string | undefined): Promise<string[]> {
  const { traces } = await readFacts({ name: '', netns });
  return Object.keys(traces.setups).map(nameOf).sort();
}
