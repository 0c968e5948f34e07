import type { ResolvedOptions } from '../options.js';
import { run, runOrThrow } from './exec.js';
import { closing, installation, mangleMade, nftRevert, xtablesRevert, type Step } from './plan.js';
import { rulesName, type Mechanism } from './ruleset.js';
import { isClean, readTraces, type Family } from './traces.js';

/** Rules that stand. Both methods may be called again, also after a failure. */
export interface Installed {
  /** From now on nothing is queued; under action `drop` every packet that was to be decided is dropped. */
  stopQueueing(): Promise<void>;
  /** Removes all that was installed. Drops every packet that a queue of this namespace still holds. */
  remove(): Promise<void>;
}

/**
 * Installs the rules, in the place of those that an earlier run of the same name left. Where that fails,
 * nothing is left of what this call made; an earlier run's rules stay, as they keep foreign packets out.
 * @throws NfqClusterError `ERR_RULES`, `ERR_PRIVILEGE`, `ERR_NO_TOOL`, `ERR_NO_NETNS`, and
 *   `ERR_INVALID_OPTION` for an interface whose name cannot stand in a rule
 */
export async function install(options: ResolvedOptions, mechanism: Mechanism): Promise<Installed> {
  const { netns } = options;
  const name = rulesName(options);
  const earlier = await readTraces(name, netns);
  try {
    await apply(installation(options, mechanism, earlier), netns);
  } catch (error) {
    if (isClean(earlier)) await uninstall(name, netns).catch(() => {});
    throw error;
  }
  return {
    stopQueueing: async () =>
      apply(closing(options, mechanism, await readTraces(name, netns)), netns),
    remove: () => uninstall(name, netns),
  };
}

/** Removes what stands under a name, whoever installed it. */
async function uninstall(name: string, netns: string | undefined): Promise<void> {
  const traces = await readTraces(name, netns);
  await apply(xtablesRevert(name, traces), netns);
  const tables: Partial<Record<Family, string>> = {};
  for (const family of mangleMade(traces)) {
    tables[family] = (await run('nft', ['list', 'table', family, 'mangle'], { netns })).stdout;
  }
  await apply(nftRevert(name, traces, tables), netns);
}

async function apply(steps: readonly Step[], netns: string | undefined): Promise<void> {
  for (const { purpose, program, args, input } of steps) {
    await runOrThrow(purpose, program, args, { input, netns });
  }
}
