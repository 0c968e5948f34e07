import net from 'node:net';
import { z } from 'zod';
import { matching, namespace, setupName } from '../checks.js';
import { invalidOption, NfqClusterError } from '../errors.js';
import { howLong } from '../ownership.js';
import { parse } from '../parse.js';
import { controlPath } from './path.js';
import { answerSchema, type Answer, type Request } from './protocol.js';
import type { Status } from './status.js';

const PATIENCE = 10_000;

/** Which engine is meant. */
export interface ControlTarget {
  /**
   * The engine's option `name`.
   * @default 'q0'
   */
  name?: string;
  /**
   * The network namespace it works in: a name under /run/netns, or a path.
   * @default the process's own
   */
  netns?: string;
  /** The path of its control socket, where it has not the default one. */
  path?: string;
}

/** Asks and tells an engine of another process, by its control socket. */
export class Control {
  readonly #target: z.output<typeof targetSchema>;

  /** @throws NfqClusterError `ERR_INVALID_OPTION` */
  constructor(target: ControlTarget = {}) {
    this.#target = parse(targetSchema, target, 'the engine');
  }

  /** @throws NfqClusterError `ERR_NO_ENGINE`, `ERR_PRIVILEGE`, `ERR_NO_NETNS` */
  async status(): Promise<Status> {
    return (await this.#ask({ command: 'status' })) as Status;
  }

  /**
   * Changes what is owned, as `Engine.own()` does; when it resolves, the change is done.
   * @param options.validFor milliseconds, only for a change that replaces. Default Infinity
   * @throws NfqClusterError `ERR_NO_ENGINE`, `ERR_PRIVILEGE`, `ERR_NO_NETNS`, and what `Engine.own()` throws
   */
  async own(change: string, options: { validFor?: number } = {}): Promise<Status> {
    if (typeof change !== 'string') throw invalidOption('change', 'a text', change);
    const { validFor } = parse(howLong, options, 'the second argument');
    const given = validFor === undefined ? {} : { validFor };
    return (await this.#ask({ command: 'own', change, ...given })) as Status;
  }

  async #ask(request: Request): Promise<unknown> {
    const { path, name = 'q0', netns } = this.#target;
    const file = path ?? (await controlPath(name, netns));
    const answer = readAnswer(file, await exchange(file, `${JSON.stringify(request)}\n`));
    if (answer.ok) return answer.result;
    const { code, message, ...details } = answer.error;
    // The message of the other side has the remedy in it already.
    throw Object.assign(new NfqClusterError(code, message), details);
  }
}

const targetSchema = z.strictObject(
  {
    name: setupName.optional(),
    netns: namespace.optional(),
    path: matching('a path', /^[^\0]+$/).optional(),
  },
  'an object with name, netns or path',
);

/** Sends a line, and resolves with all that comes back. */
async function exchange(file: string, line: string): Promise<string> {
  const signal = AbortSignal.timeout(PATIENCE);
  const socket = net.connect({ path: file }).setEncoding('utf8');
  const cut = (): void => void socket.destroy(new Error(`no answer within ${PATIENCE} ms`));
  signal.addEventListener('abort', cut);
  let text = '';
  try {
    socket.write(line);
    for await (const chunk of socket) text += chunk as string;
    return text;
  } catch (error) {
    throw unreachable(file, error as NodeJS.ErrnoException);
  } finally {
    signal.removeEventListener('abort', cut);
    socket.destroy();
  }
}

function readAnswer(file: string, text: string): Answer {
  try {
    return answerSchema.parse(JSON.parse(text)) as Answer;
  } catch (cause) {
    throw new NfqClusterError('ERR_NO_ENGINE', `No whole answer came from ${file}`, {
      remedy: 'The engine may just be ending; ask again',
      cause,
    });
  }
}

function unreachable(file: string, cause: NodeJS.ErrnoException): NfqClusterError {
  return cause.code === 'EACCES' || cause.code === 'EPERM'
    ? new NfqClusterError('ERR_PRIVILEGE', `Not permitted to use the control socket ${file}`, {
        remedy: 'Be the user that the engine runs as, or root',
        cause,
      })
    : new NfqClusterError('ERR_NO_ENGINE', `No engine answers on ${file}: ${cause.message}`, {
        remedy: "Check the engine's name, its network namespace and its control socket",
        cause,
      });
}
