/* How the development scripts say what they do, run programs, and fail. */
import { spawn, spawnSync } from 'node:child_process';
import process from 'node:process';

/** A failure that needs no stack trace: its message says what went wrong and what to do. */
export class Failure extends Error {}

export function say(text) {
  process.stderr.write(`nfq-cluster: ${text}\n`);
}

/** Runs a program that does a step of the setup; its output is shown only if it fails. */
export function step(title, file, args, options = {}) {
  say(`${title} ...`);
  const { status, error, stdout, stderr } = spawnSync(file, args, {
    maxBuffer: 2 ** 28,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options,
  });
  if (status === 0) return;
  process.stderr.write(`${stdout ?? ''}${stderr ?? ''}`);
  const reason = error?.message ?? `${[file, ...args].join(' ')} ended with ${status}, see above`;
  throw new Failure(`${title} failed: ${reason}.`);
}

/** Runs a program in the foreground, passing on a request to end. Gives its exit status. */
export function foreground(file, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: 'inherit', ...options });
    // A terminal sends SIGINT to the child by itself.
    const ignore = () => {};
    const forward = (signal) => child.kill(signal);
    process.on('SIGINT', ignore).on('SIGTERM', forward).on('SIGHUP', forward);
    child.on('error', reject);
    child.on('close', (status) => {
      process.off('SIGINT', ignore).off('SIGTERM', forward).off('SIGHUP', forward);
      resolve(status ?? 1);
    });
  });
}

/** Runs a script's body; its result, or a failure, becomes the exit status. */
export async function main(body) {
  try {
    process.exitCode = (await body()) ?? 0;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    say(error.message);
    process.exit(1);
  }
}
