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
  if (error instanceof CommandError) {
    complain(error.message);
    return error.exitCode;
  }
  if (!(error instanceof NfqClusterError)) throw error;
  complain(error.message);
  return error.code === 'ERR_INVALID_OPTION' ? 2 : 1;
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

/**
 * What to do when standard output cannot be written, in the place of what was to be done before.
 * @param gone nobody reads it any more: `| head` has seen enough, or the terminal is gone
 * @param failed anything else, such as a full disk
 */
export function onBrokenOutput(gone: () => void, failed: (reason: string) => void): void {
  process.stdout
    .removeAllListeners('error')
    .on('error', ({ code, message }: NodeJS.ErrnoException) => {
      if (code === 'EPIPE' || code === 'EIO') gone();
      else failed(message);
    });
  // A complaint that nobody reads is no reason to end in the middle of something.
  process.stderr.on('error', () => undefined);
}

/** End quietly, or with the reason: output comes last, when all else is done. */
export function endOnBrokenOutput(): void {
  onBrokenOutput(
    () => process.exit(0),
    (reason) => {
      complain(`cannot write: ${reason}`);
      process.exit(1);
    },
  );
}
