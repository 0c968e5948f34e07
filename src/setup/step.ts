import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { NfqClusterError } from '../errors.js';
import { runOrThrow, type Command } from './exec.js';
import { writeSysctl } from './kernel-files.js';
import { setQueueRule, type QueueRule } from './queue-rule.js';
import type { XtablesTraces } from './traces.js';

/** One command of a setup, which takes effect as a whole or not at all. */
export interface Step extends Command {
  /** What it does. */
  what: string;
  /** Why it is done, and why at its place in the order. */
  why: string;
  /** The command that undoes it; undefined if there is nothing to undo. */
  undo: Command | undefined;
  /** Whether that is so already, and the step has nothing to do. */
  inPlace: boolean;
  /** The kernel parameter below /proc/sys/net that the command would set; it is set without the program, likewise. */
  setting?: Setting;
  /** The queue rule that the command would set; apply() and open() set it by netlink, without the program. */
  queueRule?: QueueRule;
}

export interface Setting {
  name: string;
  value: string;
}

export const NFT_ARGS = ['-f', '-'];

/** A step that is to be taken, and has no reason yet and nothing to undo. */
export const step = (what: string, command: Command & Pick<Step, 'setting'>): Step => ({
  what,
  why: '',
  ...command,
  undo: undefined,
  inPlace: false,
});

export const nft = (what: string, input: string): Step =>
  step(what, { program: 'nft', args: NFT_ARGS, input });

export const restore = (what: string, { program }: XtablesTraces, input: string): Step =>
  step(`${what} the ${program} rules`, restoring(program, input));

/** @param program such as `iptables-nft` */
export const restoring = (program: string, input: string): Command => ({
  program: `${program}-restore`,
  // Another program may hold the lock of the legacy tables for a moment.
  args: ['--noflush', '-w', '10'],
  input,
});

/**
 * Takes the steps that are not in place, in order.
 * @throws NfqClusterError of the first that fails, and takes none behind it
 */
export async function take(steps: readonly Step[], netns: string | undefined): Promise<void> {
  for (const { what, program, args, input = '', inPlace, setting, queueRule } of steps) {
    if (inPlace) continue;
    if (queueRule) await setQueueRule(queueRule, netns);
    else if (setting) await set(what, setting, netns);
    else await runOrThrow(what, program, args, { input, netns });
  }
}

async function set(what: string, { name, value }: Setting, netns: string | undefined) {
  const error = await writeSysctl(name, value, netns);
  if (error === 0) return;
  if (isRefusal(error)) throw notPermitted(what);
  throw new NfqClusterError('ERR_RULES', `Failed to ${what}: ${getSystemErrorName(-error)}`);
}

export const isRefusal = (errno: number): boolean =>
  errno === constants.errno.EPERM || errno === constants.errno.EACCES;

export const notPermitted = (what: string): NfqClusterError =>
  new NfqClusterError('ERR_PRIVILEGE', `Not permitted to ${what}`, {
    remedy: 'Run as root or with CAP_NET_ADMIN',
  });
