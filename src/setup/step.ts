import type { Command } from './exec.js';
import type { QueueRule } from './queue-rule.js';
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
  /** The queue rule that the command would set; apply() and open() set it by netlink, without the program. */
  queueRule?: QueueRule;
}

export const NFT_ARGS = ['-f', '-'];

export const nft = (what: string, input: string): Step => ({
  what,
  why: '',
  program: 'nft',
  args: NFT_ARGS,
  input,
  undo: undefined,
  inPlace: false,
});

export const restore = (what: string, { program }: XtablesTraces, input: string): Step => ({
  what: `${what} the ${program} rules`,
  why: '',
  program: `${program}-restore`,
  // Another program may hold the lock of the legacy tables for a moment.
  args: ['--noflush', '-w', '10'],
  input,
  undo: undefined,
  inPlace: false,
});

/** A command without what else a step says. */
export const bare = ({ program, args, input }: Command): Command => ({
  program,
  args,
  ...(input === undefined ? {} : { input }),
});
