import net from 'node:net';
import { z } from 'zod';
import { matching, namespace, setupName } from '../checks.js';
import { invalidOption, NfqClusterError } from '../errors.js';
import { native } from '../native.js';
import { howLong } from '../ownership.js';
import { parse } from '../parse.js';
import { controlPath } from './path.js';
import { answerSchema, type Answer, type Request } from './protocol.js';
import type { Status } from './status.js';

const PATIENCE = 10_000;

/** Which engine to speak to. */
export interface ControlTarget {
  /**
   * The engine's option `name`.
   * @default 'q0'
   */
  name?: string;
  /**
   * The engine's network namespace: a name under /run/netns, or an absolute path.
   * @default the process's own
   */
  netns?: string;
  /** The path of its control socket, if that is not the default one; `name` and `netns` then have no effect. */
  path?: string;
}

/** Asks and changes an engine of any process on this machine, through its control socket. */
export class Control {
  readonly #target: z.output<typeof targetSchema>;

  /** @throws NfqClusterError `ERR_INVALID_OPTION` */
  constructor(target: ControlTarget = {}) {
    this.#target = parse(targetSchema, target, 'the engine');
  }

  /**
   * What the engine is, what it owns, and what it has counted.
   * @throws NfqClusterError `ERR_NO_ENGINE`, also if no answer comes within 10 seconds; `ERR_PRIVILEGE`,
   *   `ERR_NO_NETNS`
   */
  async status(): Promise<Status> {
    return (await this.#ask({ command: 'status' })) as Status;
  }

  /**
   * Changes what the engine owns, as `Engine.own()` does, and resolves once the change is done.
   * @param change such as `+2`, `-2`, `1,3-5` or `none`
   * @param options.validFor milliseconds from this call, only with a change that replaces. Default Infinity
   * @returns the status after the change
   * @throws NfqClusterError as status(), and as `Engine.own()`
   */
  async own(change: string, options: { validFor?: number } = {}): Promise<Status> {
    if (typeof change !== 'string') throw invalidOption('change', 'a string', change);
    const { validFor } = parse(howLong, options, 'the second argument');
    // Otherwise an engine that is stopped meanwhile would count the time from when it goes on.
    const given = validFor === undefined ? {} : { validFor, asked: native.NativeEngine.now() };
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
    throw new NfqClusterError(
      'ERR_NO_ENGINE',
      `The answer from ${file} is incomplete or not understood`,
      {
        remedy: 'The engine may be closing just now; ask again',
        cause,
      },
    );
  }
}

function unreachable(file: string, cause: NodeJS.ErrnoException): NfqClusterError {
  return cause.code === 'EACCES' || cause.code === 'EPERM'
    ? new NfqClusterError('ERR_PRIVILEGE', `Not permitted to use the control socket ${file}`, {
        remedy: 'Run as root, or as the user that the engine runs as',
        cause,
      })
    : new NfqClusterError('ERR_NO_ENGINE', `No engine answers on ${file}: ${cause.message}`, {
        remedy: "Check the engine's name, its network namespace and its control socket",
        cause,
      });
}
