import { z } from 'zod';
import { namespace, setupName } from '../options/checks.js';
import { invalidOption } from '../errors.js';
import { netnsPath } from '../netns.js';
import { parse } from '../options/parse.js';
import type { Options, ResolvedOptions } from '../options/types.js';
import { resolveOptions } from '../options/resolve.js';
import type { Step } from './step.js';
import { chooseMechanism } from './probe.js';
import type { Mechanism } from './ruleset.js';
import * as setup from './setup.js';
import { revert as uninstallByName } from './uninstall.js';
import { compared, statusOf, type SetupStatus } from './status.js';

/** What has to be done to set a node up. */
export interface Plan {
  /** The option `name`. */
  name: string;
  /** What sends packets to the queue. */
  mechanism: Mechanism;
  /** The path of the network namespace, or undefined for the process's own. */
  netns: string | undefined;
  /** In the order in which they are taken. */
  steps: readonly Step[];
  /** What to know beforehand, as sentences: which packets are dropped until an engine decides. */
  warnings: readonly string[];
}

export interface ApplyOptions {
  /**
   * Replace a setup of this name that is in place with other options.
   * @default false
   */
  replace?: boolean;
}

export interface SetupName {
  /**
   * The option `name` of the setup.
   * @default 'q0'
   */
  name?: string;
  /**
   * The network namespace: a name under /run/netns, or an absolute path.
   * @default the process's own
   */
  netns?: string;
}

/**
 * The steps that apply() would take now. Changes nothing.
 * @throws NfqClusterError as apply()
 */
export async function plan(options: Options, how: ApplyOptions = {}): Promise<Plan> {
  const { replace = false } = parse(applySchema, how, 'the second argument');
  const resolved = resolve(options);
  const mechanism = await chooseMechanism(resolved);
  const steps = await setup.planned(resolved, mechanism, { standing: true, replace });
  return asPlan(resolved, mechanism, steps);
}

/**
 * Sets the node up: rules, cluster MAC, cluster addresses and kernel parameters, which stay in place when
 * this process ends, until revert(). May be called again. Until an engine decides them, the packets that it
 * would decide are dropped; open() with the same options uses the setup, and leaves it in place when it
 * closes.
 * @returns the plan that was carried out, with `inPlace` on steps that had nothing to do
 * @throws NfqClusterError before anything is changed: `ERR_INVALID_OPTION`, `ERR_NO_INTERFACE`,
 *   `ERR_CONFLICT`, `ERR_PRIVILEGE`, `ERR_NO_NFQUEUE`, `ERR_NO_NETNS`, `ERR_NO_TOOL`, `ERR_READ_ONLY`,
 *   `ERR_SYSTEM`. `ERR_RULES` if the system refuses a step: the steps before it are undone, and a setup that was to be
 *   replaced is put back
 */
export async function apply(options: Options, how: ApplyOptions = {}): Promise<Plan> {
  const { replace = false } = parse(applySchema, how, 'the second argument');
  const resolved = resolve(options);
  const mechanism = await chooseMechanism(resolved);
  const { steps } = await setup.install(resolved, mechanism, { standing: true, replace });
  return asPlan(resolved, mechanism, steps);
}

/**
 * Undoes a setup, whichever process made it and however that process ended: what was changed gets its
 * earlier value, unless somebody else has changed it since, or another setup needs it as well. Does nothing
 * if there is no such setup. A running engine whose rules are removed decides nothing any more: the packets
 * that it would decide are accepted.
 * @throws NfqClusterError `ERR_INVALID_OPTION`, `ERR_HELD`, `ERR_RULES`, `ERR_READ_ONLY`, `ERR_PRIVILEGE`, `ERR_NO_TOOL`,
 *   `ERR_NO_NETNS`, `ERR_SYSTEM`
 */
export async function revert(which: SetupName = {}): Promise<void> {
  const { name = DEFAULT_NAME, netns } = parse(nameSchema, which, 'the setup');
  return uninstallByName(name, netns);
}

/**
 * Which parts of a setup are in place.
 * @param which the setup. Not needed with options, which name it; if given, it must agree with them
 * @param options of the setup; with them, `steps` says how each step that they ask for compares with what
 *   is there, rules included
 * @throws NfqClusterError as revert(); with options, as plan()
 */
export async function status(which: SetupName = {}, options?: Options): Promise<SetupStatus> {
  const { name, netns } = parse(nameSchema, which, 'the setup');
  if (options === undefined) return statusOf(name ?? DEFAULT_NAME, netns);
  const resolved = resolve(options);
  checkSame(which, resolved);
  const mechanism = await chooseMechanism(resolved);
  return {
    ...(await statusOf(resolved.name, resolved.netns)),
    steps: await compared(resolved, mechanism),
  };
}

const DEFAULT_NAME = 'q0';

const nameSchema = z.strictObject(
  { name: setupName.optional(), netns: namespace.optional() },
  'an object with name or netns',
);

const applySchema = z.strictObject(
  { replace: z.boolean('true or false').optional() },
  'an object with replace',
);

function checkSame(given: SetupName, { name, netns }: ResolvedOptions): void {
  if (given.name !== undefined && given.name !== name)
    throw invalidOption('name', `${name}, as the options say, or nothing`, given.name);
  if (given.netns !== undefined && netnsPath(given.netns) !== netnsPath(netns))
    throw invalidOption('netns', `${netns ?? 'nothing'}, as the options say`, given.netns);
}

/** Options as `open({ rules: 'auto' })` takes them. */
function resolve(options: Options): ResolvedOptions {
  const resolved = resolveOptions(options, 'auto');
  if (resolved.rules === 'none') {
    throw invalidOption(
      'rules',
      'one of "auto", "nft", "nft-compat", "xtables"',
      resolved.rules,
      'A setup is made of rules, and with "none" you write them yourself.',
    );
  }
  return resolved;
}

const asPlan = (options: ResolvedOptions, mechanism: Mechanism, steps: readonly Step[]): Plan => ({
  name: options.name,
  mechanism,
  netns: netnsPath(options.netns) || undefined,
  steps,
  warnings: warningsOf(options),
});

/** Rules that stand before an engine does drop all that they would queue, whatever the action. */
export function warningsOf({ interfaces }: ResolvedOptions): string[] {
  return interfaces
    .filter(({ destinations }) => destinations === 'all')
    .map(
      ({ name }) =>
        `until an engine decides, all packets that arrive on ${name} are dropped, including ssh to this machine; with --destinations ${name}=addresses, only those for a cluster address are`,
    );
}
