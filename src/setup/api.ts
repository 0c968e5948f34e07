import { resolveOptions, type Options, type ResolvedOptions } from '../options.js';
import { netnsPath } from './exec.js';
import type { Step } from './plan.js';
import { chooseMechanism } from './probe.js';
import type { Mechanism } from './ruleset.js';
import * as setup from './setup.js';

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
export async function plan(
  options: Options,
  { replace = false }: ApplyOptions = {},
): Promise<Plan> {
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
 *   system refuses a step, and what came before it is taken back
 */
export async function apply(
  options: Options,
  { replace = false }: ApplyOptions = {},
): Promise<Plan> {
  const { resolved, mechanism } = await prepare(options);
  const { steps } = await setup.install(resolved, mechanism, { standing: true, replace });
  return asPlan(resolved, mechanism, steps);
}

/**
 * Takes a setup back, whoever made it and however that ended: what was changed gets its earlier value,
 * unless somebody else changed it since. Does nothing where there is none.
 * @throws NfqClusterError `ERR_RULES`, `ERR_PRIVILEGE`, `ERR_NO_TOOL`, `ERR_NO_NETNS`
 */
export const revert = ({ name = DEFAULT_NAME, netns }: SetupName = {}): Promise<void> =>
  setup.revert(name, netns);

/**
 * What of a setup is in place.
 * @param options of the setup: then the rules are also compared with those that the options make
 * @throws NfqClusterError as `revert`; with options, as `plan`
 */
export async function status(
  { name, netns }: SetupName = {},
  options?: Options,
): Promise<setup.SetupStatus> {
  if (options === undefined) return setup.status(name ?? DEFAULT_NAME, netns);
  const { resolved, mechanism } = await prepare(options);
  return {
    ...(await setup.status(resolved.name, resolved.netns)),
    steps: await setup.compared(resolved, mechanism),
  };
}

const DEFAULT_NAME = 'q0';

async function prepare(
  options: Options,
): Promise<{ resolved: ResolvedOptions; mechanism: Mechanism }> {
  const resolved = resolveOptions(options);
  return { resolved, mechanism: await chooseMechanism(resolved) };
}

const asPlan = (options: ResolvedOptions, mechanism: Mechanism, steps: readonly Step[]): Plan => ({
  name: options.name,
  mechanism,
  netns: options.netns === undefined ? undefined : netnsPath(options.netns),
  steps,
  warnings: warningsOf(options),
});

/** Rules that stand before an engine does drop all that they would queue. */
export function warningsOf({ action, interfaces }: ResolvedOptions): string[] {
  if (action === 'mark') return [];
  return interfaces
    .filter(({ destinations }) => destinations === 'all')
    .map(
      ({ name }) =>
        `until an engine decides, all that enters by ${name} is dropped, ssh to this machine too; with --destinations ${name}=addresses only what is for a cluster address`,
    );
}
