import { z } from 'zod';
import { matching, namespace, setupName } from '../options/checks.js';
import { invalidOption } from '../errors.js';
import { native } from '../native.js';
import { howLong } from '../options/ownership.js';
import { parse } from '../options/parse.js';
import { ask } from './ask.js';
import { controlPath } from './path.js';
import type { Request } from './protocol.js';
import type { Status } from './status.js';

/** Milliseconds to wait for an answer. */
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
    const given = validFor === undefined ? {} : { validFor, asked: native.now() };
    return (await this.#ask({ command: 'own', change, ...given })) as Status;
  }

  async #ask(request: Request): Promise<unknown> {
    const { path, name = 'q0', netns } = this.#target;
    const file = path ?? (await controlPath(name, netns));
    return ask(file, request, PATIENCE);
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
