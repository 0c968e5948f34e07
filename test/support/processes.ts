import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { ended, type Namespace } from '../../src/lab/namespaces.js';

export const root = path.resolve(import.meta.dirname, '../..');

/** How a program ended: exit code, or name of the signal, and all that it wrote. */
export interface Outcome {
  status: number | string;
  stdout: string;
  stderr: string;
}

/** Flags of a node, from 1, of so many. */
export const share = (localNode: number, totalNodes: number, seed = 0): string[] => [
  ...['--cluster-total-nodes', `${totalNodes}`, '--cluster-local-node', `${localNode}`],
  ...['--cluster-hash-seed', `${seed}`],
];

interface CliOptions {
  /** Where it runs; it is killed with the namespace or with the test. Without: here. */
  namespace?: Namespace;
  env?: Record<string, string>;
  /** Its standard input. */
  input?: string;
  /** A program, with arguments, that is to start it: setpriv, for one. */
  wrapper?: readonly string[];
}

export interface Cli {
  child: ChildProcess;
  /** The next line of `--json` that tells this event; fails if the program ends before. */
  event(name: string): Promise<Record<string, unknown>>;
  /** Resolves when it has ended. */
  outcome: Promise<Outcome>;
}

/** Starts `nfq-cluster`, as built. */
export function cli(
  args: readonly string[],
  { namespace, env = {}, input = '', wrapper = [] }: CliOptions = {},
): Cli {
  const [program, ...line] = [
    ...wrapper,
    process.execPath,
    path.join(root, 'dist/cli/main.js'),
    ...args,
  ] as [string, ...string[]];
  const options = { stdio: 'pipe', env: { ...process.env, ...env } } as const;
  const child = namespace?.spawn(program, line, options) ?? spawn(program, line, options);
  child.stdin!.on('error', () => undefined).end(input);
  const reader = createInterface({ input: child.stdout! });
  const lines = reader[Symbol.asyncIterator]();
  const outcome = outcomeOf(child, reader);
  return {
    child,
    outcome,
    async event(name) {
      for (let next = await lines.next(); next.done !== true; next = await lines.next()) {
        const event = JSON.parse(next.value) as Record<string, unknown>;
        if (event['event'] === name) return event;
      }
      throw new Error(`nfq-cluster ended before "${name}": ${JSON.stringify(await outcome)}`);
    },
  };
}

async function outcomeOf(child: ChildProcess, lines: Interface): Promise<Outcome> {
  let stdout = '';
  lines.on('line', (line) => (stdout += `${line}\n`));
  const closed = once(lines, 'close');
  const [status, stderr] = await Promise.all([ended(child), text(child.stderr!), closed]);
  return { status, stdout, stderr };
}

/**
 * Waits until a condition holds, looking again every 10 ms.
 * @param what as a function where it is known only when it has not come
 * @param deadline milliseconds
 * @throws Error that says what was waited for
 */
export async function waitFor(
  what: string | (() => string),
  condition: () => boolean | Promise<boolean>,
  deadline = 10_000,
): Promise<void> {
  const end = Date.now() + deadline;
  while (!(await condition())) {
    if (Date.now() > end) {
      const told = typeof what === 'string' ? what : what();
      throw new Error(`Not within ${deadline} ms: ${told}`);
    }
    await delay(10);
  }
}
