import { z } from 'zod';
import { namespace, setupName } from '../checks.js';
import { invalidOption } from '../errors.js';
import { parse } from '../parse.js';
import { resolveOptions, type Options, type ResolvedOptions } from '../options.js';
import { netnsPath } from './exec.js';
import type { Step } from './step.js';
import { chooseMechanism } from './probe.js';
import type { Mechanism } from './ruleset.js';
import * as setup from './setup.js';
import { revert as uninstallByName } from './uninstall.js';
import { compared, statusOf, type SetupStatus } from './status.js';

/** What has to be done to set a node up, in order. */
export interface Plan {
  name: string;
  /** What brings packets to the queue. */
  mechanism: Mechanism;
  /** The path of the network namespace, or undefined for the process's own. */
  netns: string | undefined;
  steps: readonly Step[];
  /** What one should know before: what is cut off until an engine decides. */
  warnings: readonly string[];
}

export interface ApplyOptions {
  /**
   * Replace a setup of this name that stands with other options.
   * @default false
   */
  replace?: boolean;
}

export interface SetupName {
  /** @default 'q0' */
  name?: string;
  /**
   * A name under /run/netns, or a path.
   * @default the process's own
   */
  netns?: string;
}

/**
 * The steps that `apply` would take now; changes nothing.
 * @throws NfqClusterError as `apply`
 */
export async function plan(options: Options, how: ApplyOptions = {}): Promise<Plan> {
  const { replace = false } = parse(applySchema, how, 'the second argument');
  const { resolved, mechanism } = await prepare(options);
  const steps = await setup.planned(resolved, mechanism, { standing: true, replace });
  return asPlan(resolved, mechanism, steps);
}

/**
 * Sets the node up, so that it stands until `revert`, beyond this process: rules, cluster MAC, cluster
 * addresses and kernel parameters. May be called again. Until an engine decides, what it would decide is
 * dropped; `open()` with the same options finds the setup, and leaves it when it closes.
 * @returns the steps as they were found, with `inPlace` where nothing had to be done
 * @throws NfqClusterError `ERR_INVALID_OPTION`, `ERR_NO_INTERFACE`, `ERR_CONFLICT`, `ERR_PRIVILEGE`,
 *   `ERR_NO_NFQUEUE`, `ERR_NO_NETNS`, `ERR_NO_TOOL`, `ERR_READ_ONLY`, before anything is changed; `ERR_RULES` when the
 *   system refuses a step: what came before it is taken back, and a setup in whose place this was to come is put back
 */
export async function apply(options: Options, how: ApplyOptions = {}): Promise<Plan> {
  const { replace = false } = parse(applySchema, how, 'the second argument');
  const { resolved, mechanism } = await prepare(options);
  const { steps } = await setup.install(resolved, mechanism, { standing: true, replace });
  return asPlan(resolved, mechanism, steps);
}

/**
 * Takes a setup back, whoever made it and however that ended: what was changed gets its earlier value,
 * unless somebody else changed it since, or another setup needs it, too. Does nothing where there is none. A running
 * engine whose rules are taken back decides nothing any more: what would come to it is accepted.
 * @throws NfqClusterError `ERR_INVALID_OPTION`, `ERR_HELD`, `ERR_RULES`, `ERR_PRIVILEGE`, `ERR_NO_TOOL`, `ERR_NO_NETNS`
 */
export async function revert(which: SetupName = {}): Promise<void> {
  const { name = DEFAULT_NAME, netns } = parse(nameSchema, which, 'the setup');
  return uninstallByName(name, netns);
}

/**
 * What of a setup is in place.
 * @param which setup; beside options, which tell that by themselves, the same or nothing
 * @param options of the setup: then the rules are also compared with those that the options make
 * @throws NfqClusterError as `revert`; with options, as `plan`
 */
export async function status(which: SetupName = {}, options?: Options): Promise<SetupStatus> {
  const { name, netns } = parse(nameSchema, which, 'the setup');
  if (options === undefined) return statusOf(name ?? DEFAULT_NAME, netns);
  checkSame(which, resolve(options));
  const { resolved, mechanism } = await prepare(options);
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
  if (given.netns !== undefined && netnsPath(given.netns) !== netnsPath(netns ?? ''))
    throw invalidOption('netns', `${netns ?? 'nothing'}, as the options say`, given.netns);
}

async function prepare(
  options: Options,
): Promise<{ resolved: ResolvedOptions; mechanism: Mechanism }> {
  const resolved = resolve(options);
  return { resolved, mechanism: await chooseMechanism(resolved) };
}

/** Options as `open({ rules: 'auto' })` takes them. */
function resolve(options: Options): ResolvedOptions {
  const resolved = resolveOptions(options, 'auto');
  if (resolved.rules === 'none') {
    throw invalidOption(
      'rules',
      'one of "auto", "nft", "nft-compat", "xtables"',
      resolved.rules,
      'A setup is made of rules; by "none" they are your own affair.',
    );
  }
  return resolved;
}

const asPlan = (options: ResolvedOptions, mechanism: Mechanism, steps: readonly Step[]): Plan => ({
  name: options.name,
  mechanism,
  netns: options.netns === undefined ? undefined : netnsPath(options.netns),
  steps,
  warnings: warningsOf(options),
});

/** Rules that stand before an engine does drop all that they would queue, whatever the action. */
export function warningsOf({ interfaces }: ResolvedOptions): string[] {
  return interfaces
    .filter(({ destinations }) => destinations === 'all')
    .map(
      ({ name }) =>
        `until an engine decides, all that enters by ${name} is dropped, ssh to this machine too; with --destinations ${name}=addresses only what is for a cluster address`,
    );
}
