import type { Command } from 'commander';
import { open, type Engine } from '../engine.js';
import { NfqClusterError } from '../errors.js';
import type { Options } from '../options/types.js';
import { complainOfNone, defaultControl } from './control.js';
import { complain, onBrokenOutput, print } from './failure.js';
import { withSetup, type Flags } from './flags.js';
import { optionsOf } from './options.js';
import { json, readyMessage, text, type Format } from './report.js';

interface RunFlags extends Flags {
  json?: true;
}

/** How long the reader of the output has to take what still waits. */
const LAST_WORDS_MS = 1000;

const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/**
 * The same signal again within this time is the same request: on Ctrl-C the terminal signals all its programs, and
 * npx passes the signal on as well.
 */
const ECHO_MS = 500;

export function addRun(top: Command): void {
  withSetup(top.command('run'))
    .description(
      'decide packets until SIGINT, SIGTERM or SIGHUP; rules are installed first and removed at the end',
    )
    .option(
      '--control <path>',
      'socket for the commands status and own, or none (default: in /run/nfq-cluster, by --name)',
    )
    .option('--json', 'one JSON object per line')
    .action(run);
}

/**
 * `nfq-cluster run`: decides packets until SIGINT, SIGTERM or SIGHUP, or until nobody reads its output any
 * more. Then it removes its rules and returns.
 */
async function run(flags: RunFlags): Promise<void> {
  const options = optionsOf(flags);
  const stop = stopRequest();
  const engine = await opened(options);
  const undecided = rulesGone(engine);
  complain(readyMessage(engine));
  const closed = Promise.race([stop, undecided]).then(async (error) => {
    await engine.close();
    if (error !== undefined) throw error;
  });
  void closed.catch(() => undefined).then(endThoughUnread);
  await Promise.all([closed, reportSeconds(engine, flags.json === true ? json : text)]);
}

/** Where nobody asked for a control socket, and none can be made, as on a full file system, it goes without. */
async function opened(options: Options): Promise<Engine> {
  if (options.control !== undefined) return open(options);
  try {
    return await open({ ...options, control: defaultControl() });
  } catch (error) {
    if (!isOfSocketFile(error)) throw error;
    complainOfNone(error.cause as Error);
    return open({ ...options, control: 'none' });
  }
}

const isOfSocketFile = (error: unknown): error is NfqClusterError =>
  error instanceof NfqClusterError && ['listen', 'link'].includes(error.syscall ?? '');

async function reportSeconds(engine: Engine, format: Format): Promise<void> {
  await print(format.ready(engine));
  for await (const growth of engine.changes()) await print(format.second(growth, engine.stats()));
  // Once closed: packets that waited have been counted, too.
  await engine.close();
  await print(format.totals(engine.stats()));
}

/** Output that nobody takes keeps the process alive: it is given up once everything else is done. */
function endThoughUnread(): void {
  setTimeout(() => process.exit(), LAST_WORDS_MS).unref();
}

/** Resolves when the program shall end. A second signal ends it at once. */
function stopRequest(): Promise<void> {
  return new Promise((resolve) => {
    let asked = false;
    let first = { signal: '', at: 0 };
    const ask = (): void => {
      asked = true;
      resolve();
    };
    // A full disk behind `> log` is no reason to stop deciding.
    onBrokenOutput(ask, () => undefined);
    for (const [signal, number] of Object.entries(SIGNALS)) {
      process.on(signal, () => {
        const at = performance.now();
        if (signal === first.signal && at - first.at < ECHO_MS) return;
        if (asked) {
          complain(
            `${signal} again: ending at once. Rules that are still in place drop what they would queue, until the next run of the same name replaces them`,
          );
          process.exit(128 + number);
        }
        first = { signal, at };
        ask();
      });
    }
  });
}

/** Resolves when nothing keeps packets out any more; any other fault ends the program at once. */
function rulesGone(engine: Engine): Promise<NfqClusterError> {
  return new Promise((resolve) => {
    engine.on('fault', (error) => {
      if (error.code === 'ERR_RULES') resolve(error);
      else leave(engine, error.message);
    });
  });
}

/**
 * Ends after a fault, and leaves the rules: without them, every node would accept every packet. The next run
 * replaces them.
 */
function leave(engine: Engine, message: string): void {
  complain(
    engine.mechanism === undefined
      ? message
      : `${message}. The rules stay, and drop what they would queue, until the next run replaces them`,
  );
  process.exit(1);
}
