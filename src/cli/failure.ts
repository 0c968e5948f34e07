import { CommanderError } from 'commander';
import { NfqClusterError } from '../errors.js';

/** Ends the program with a message and an exit status: 2 for wrong use, 1 for anything else. */
export class CommandError extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Says on standard error what an error is, and gives the exit status for it. */
export function report(error: unknown): number {
  // Commander has already said it. Help and version are no failure.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof CommandError || error instanceof NfqClusterError) {
    complain(error.message);
    return error instanceof CommandError ? error.exitCode : 1;
  }
  throw error;
}

export const complain = (message: string): void => {
  process.stderr.write(`nfq-cluster: ${message}\n`);
};

/** Writes to standard output, and waits until that is done or cannot be done. */
export function print(text: string): Promise<void> {
  return new Promise((resolve) => {
    process.stdout.write(text, () => resolve());
  });
}

/** Calls back when nobody reads standard output any more: `| head` has seen enough, the terminal is gone. */
export function onBrokenPipe(callback: () => void): void {
  process.stdout.on('error', callback);
  // A complaint that nobody reads is no reason to end in the middle of something.
  process.stderr.on('error', () => undefined);
}
