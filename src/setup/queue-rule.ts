import { fileURLToPath } from 'node:url';
import { getSystemErrorName } from 'node:util';
import { NfqClusterError } from '../errors.js';
import { fromNative, native } from '../native.js';
import { netnsPath } from '../netns.js';
import type { ResolvedOptions } from '../options/types.js';
import type { Command } from './exec.js';
import { rulesName, TARGET_CHAIN } from './ruleset.js';

/*
 * NFQUEUE in an nft chain, which is set by netlink. In a plan it is a command of this package's own, for scripts;
 * when this package carries out the plan, it runs no program for it.
 */

/** What is queued, of a setup: its name, as in the options, its queues, and how they are chosen. */
export type QueueRule = Pick<ResolvedOptions, 'name' | 'queues' | 'queueCpuFanout'>;

/** This package's command line, wherever it is installed: a script finds it without the PATH. */
const COMMAND_LINE = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

export const queueRuleCommand = ({ name, queues, queueCpuFanout }: QueueRule): Command => ({
  program: process.execPath,
  args: [
    ...[COMMAND_LINE, 'queue-rule', '--name', name],
    ...['--queue', `${queues[0]!}-${queues.at(-1)!}`],
    ...(queueCpuFanout ? ['--queue-cpu-fanout'] : []),
  ],
});

/**
 * Sets it, in one transaction.
 * @throws NfqClusterError `ERR_RULES`, `ERR_PRIVILEGE`, `ERR_NO_NETNS`; then the chain is as it was
 */
export async function setQueueRule(
  { name, queues, queueCpuFanout }: QueueRule,
  netns: string | undefined,
): Promise<void> {
  try {
    await native.setQueueRule(
      netnsPath(netns),
      rulesName({ name }),
      TARGET_CHAIN,
      queues[0]!,
      queues.length,
      queueCpuFanout,
    );
  } catch (error) {
    const known = fromNative(error);
    if (!(known instanceof NfqClusterError) || known.code !== 'ERR_SYSTEM') throw known;
    const reason = known.errno === undefined ? '' : `: ${getSystemErrorName(-known.errno)}`;
    throw new NfqClusterError('ERR_RULES', `${known.message}${reason}`, {
      remedy: 'Where the table is missing, apply the setup; its rules must be "nft-compat"',
      cause: known,
    });
  }
}
