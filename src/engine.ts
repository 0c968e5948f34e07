import { EventEmitter } from 'node:events';
import { z } from 'zod';
import { check } from './options/checks.js';
import { Conntrack } from './conntrack.js';
import { changed, keepsDeadline } from './control/change.js';
import { controlPath } from './control/path.js';
import type { Request } from './control/protocol.js';
import { ControlServer } from './control/server.js';
import { status, type Status } from './control/status.js';
import { NfqClusterError } from './errors.js';
import { hearsExpectations, keepsBucket } from './options/conntrack.js';
import { Growth } from './growth.js';
import { Hasher } from './hash.js';
import { holdNetns, type HeldNetns } from './held-netns.js';
import { marksForRules } from './options/marks.js';
import { fromNative, native, type NativeEngine, type NativeEngineConfig } from './native.js';
import { netnsPath } from './netns.js';
import type { Options, OwnershipInput, ResolvedOptions } from './options/types.js';
import { frozen, resolveOptions } from './options/resolve.js';
import { howLong, resolveOwnership } from './options/ownership.js';
import { parse } from './options/parse.js';
import { RulesWatch } from './rules-watch.js';
import type { Owning } from './setup/owned.js';
import { chooseMechanism, reinjectOf } from './setup/probe.js';
import { rulesName, type Mechanism } from './setup/ruleset.js';
import { besides, install, type Installed } from './setup/setup.js';
import { StatsReader, type Stats } from './stats.js';

/** What an engine owns now. */
export interface Ownership {
  /** Numbers from 0, ascending; the set as it was given, even once its time is over. */
  readonly buckets: readonly number[];
  /** Milliseconds until nothing is owned any more: 0 once the time is over, Infinity without a deadline. */
  readonly validFor: number;
}

export interface EngineEvents {
  /**
   * A queue thread has ended: packets for its queue are dropped from now on. Or, with code `ERR_RULES`,
   * somebody has removed or emptied the rules: packets pass undecided, and whatever else the setup had changed was
   * undone, unless the message says otherwise. Close the engine and open another. Without a listener, the
   * error is emitted as a process warning.
   */
  fault: [error: NfqClusterError];
  /**
   * How many packets the kernel has dropped since the last such event, or since the start, as the queue
   * (`queueDropped`) or the socket's receive buffer (`userDropped`) was full. Looked at once a second.
   */
  loss: [lost: { queueDropped: number; userDropped: number }];
  /** The engine is closed. */
  close: [];
}

type Owned = Pick<ResolvedOptions, 'owned' | 'validFor'>;

const LOSS_CHECK_MS = 1000;
const CLOSE_DEADLINE_MS = 2000;
/** How long something is owned whose time was over when it was asked for. */
const OVER_MS = 1e-6;

/**
 * Binds the queues, installs rules unless `options.rules` is `none`, and decides packets until close().
 * An open engine keeps the process alive, as a listening server does; see unref().
 *
 * @throws NfqClusterError before anything is changed: `ERR_INVALID_OPTION`, `ERR_PRIVILEGE`,
 *   `ERR_NO_INTERFACE`, `ERR_QUEUE_TAKEN`, `ERR_CONFLICT`, `ERR_NO_NFQUEUE`, `ERR_NO_CONNTRACK`,
 *   `ERR_NO_NETNS`, `ERR_NO_TOOL`, `ERR_READ_ONLY`, `ERR_CONTROL_TAKEN`, `ERR_SYSTEM`. `ERR_RULES` if the
 *   system refuses a rule or a step of the setup; the steps before it are then undone
 */
export async function open(options: Options): Promise<Engine> {
  const called = native.now();
  const resolved = resolveOptions(options);
  const netns = await holdNetns(resolved.netns);
  try {
    const where = { ...resolved, netns: netns.path };
    const mechanism = resolved.rules === 'none' ? undefined : await chooseMechanism(where);
    const engine = new QueueEngine(
      mechanism === undefined ? resolved : { ...resolved, reinject: reinjectOf(mechanism) },
      mechanism,
      netns,
      called,
    );
    await engine.start();
    return engine;
  } catch (error) {
    await netns.release();
    throw error;
  }
}

/** A running engine, made by open(). */
export interface Engine extends EventEmitter<EngineEvents>, AsyncDisposable {
  /** The options with every default; frozen. */
  readonly options: Readonly<ResolvedOptions>;
  /** What sends packets to the queue; undefined with `rules: 'none'`. */
  readonly mechanism: Mechanism | undefined;
  /** What is owned at this moment; after close(), what was owned last. */
  readonly ownership: Ownership;
  /** Computes where the engine's own hashing puts an address. */
  readonly hasher: Hasher;
  /** How connections are followed, and questions to the kernel about them. */
  readonly conntrack: Conntrack;
  /**
   * Replaces what is owned, at once and as a whole. When the promise resolves, no packet is decided
   * by the old ownership any more, so that another node may take over. With `offload` the kernel's sets
   * are changed first. If that fails, the engine still owns what it did before, and the sets are put back
   * or, if nft refuses that as well, emptied.
   * @throws NfqClusterError `ERR_INVALID_OPTION`, `ERR_CLOSED`; with `offload` also `ERR_RULES`
   */
  setOwnership(ownership: OwnershipInput): Promise<void>;
  /**
   * Changes what is owned, given as text: `+2` adds node 2 and `-2` removes it, as in CLUSTERIP's
   * membership file; `1,3-5` and `none` replace everything. With fine-grained buckets, the numbers are
   * buckets, from 0. Resolves as setOwnership() does. Adding and removing keep the deadline.
   * @param options.validFor milliseconds, only with a change that replaces. Default Infinity
   * @throws NfqClusterError as setOwnership(); `ERR_ALREADY_OWNED`, `ERR_NOT_OWNED`, `ERR_EXPIRED`
   */
  own(change: string, options?: { validFor?: number }): Promise<void>;
  /** The counts since open(); after close(), the final ones. */
  stats(): Stats;
  /**
   * The growth of the counts, one item per interval, until the engine is closed. A consumer that takes longer
   * than an interval gets one item of all that has grown meanwhile. return() ends a next() that waits.
   * @param interval milliseconds, 1 to 2,147,483,647. Default 1000
   * @throws NfqClusterError `ERR_INVALID_OPTION`, from the first next()
   */
  changes(interval?: number): AsyncIterableIterator<Stats>;
  /**
   * Stops queueing, decides what still waits, unbinds the queues and removes the rules, unless apply()
   * made them. Repeated calls share one completion.
   * @param options.deadline milliseconds in which to decide the packets that wait; those that still do
   *   are then dropped. Default 2000
   * @throws NfqClusterError `ERR_INVALID_OPTION`; `ERR_RULES` and others if the rules could not be
   *   removed: the engine is closed all the same, the rules drop what they would queue, and revert()
   *   removes them
   */
  close(options?: { deadline?: number }): Promise<void>;
  /** Has the open engine keep the process alive, as it does unless unref() was called. */
  ref(): this;
  /** Lets the process end although the engine is open. */
  unref(): this;
}

class QueueEngine extends EventEmitter<EngineEvents> implements Engine {
  readonly options: Readonly<ResolvedOptions>;
  readonly mechanism: Mechanism | undefined;
  readonly #native: NativeEngine;
  readonly #stats: StatsReader;
  readonly #growth: Growth;
  #owned: readonly number[];
  #rules: Installed | undefined;
  readonly #netns: HeldNetns;
  #hasher: Hasher | undefined;
  #conntrack: Conntrack | undefined;
  #control: ControlServer | undefined;
  #closing: Promise<void> | undefined;
  /** The changes of what the kernel decides by itself, one after the other. */
  #changes: Promise<void> = Promise.resolve();
  #lossCheck: NodeJS.Timeout | undefined;
  #rulesWatch: RulesWatch | undefined;
  #started = false;
  /** What ended a queue thread before anybody could listen for it. */
  #early: NfqClusterError | undefined;

  /** @param called when, on the clock of deadlines: what is owned at the start ends `validFor` later */
  constructor(
    options: ResolvedOptions,
    mechanism: Mechanism | undefined,
    netns: HeldNetns,
    called: number,
  ) {
    super();
    // Whoever has the engine reads them, and so does the engine while it runs.
    this.options = frozen(structuredClone(options));
    this.mechanism = mechanism;
    this.#owned = options.owned;
    this.#netns = netns;
    this.#native = nativeEngine(this.#optionsThere(), called, (error) =>
      this.#tell(fromNative(error) as NfqClusterError),
    );
    this.#stats = new StatsReader(this.#native.counters(), options.buckets);
    this.#growth = new Growth(this.#stats, () => this.#native.readCounts());
  }

  /*
   * The queue is bound, and the control socket stands, before any rule sends packets, so that an error comes
   * before a change.
   */
  async start(): Promise<void> {
    await this.#native.open().catch((error: unknown) => {
      throw fromNative(error);
    });
    try {
      // In order, so that changes from the control socket come after the installation.
      await this.#inOrder(async () => {
        await this.#listen();
        if (this.mechanism !== undefined) await this.#install(this.mechanism);
      });
      if (this.#early !== undefined) throw this.#early;
      this.#started = true;
    } catch (error) {
      await this.#control?.close();
      // While packets are still decided: held packets would keep empty chains from being deleted.
      const left = await this.#rules?.giveUp().then(
        () => undefined,
        (reason: unknown) => reason,
      );
      await this.#native.close(0);
      throw left === undefined ? error : notRemoved(error, left, this.options);
    }
    this.#watchLoss();
    this.#watchRules();
  }

  async #install(mechanism: Mechanism): Promise<void> {
    const owning = this.#owning();
    this.#rules = await install(this.#optionsThere(), mechanism, { owning });
    await this.#adopt(owning.owned, owning.remaining());
  }

  /** The options, by which the network namespace is found for as long as the engine is open. */
  #optionsThere(): ResolvedOptions {
    return { ...this.options, netns: this.#netns.path };
  }

  /* Awaited here as by its callers, so that the stack of an error leads to whoever asked for the change. */
  async #inOrder<T>(change: () => Promise<T>): Promise<T> {
    const before = this.#changes;
    let done = (): void => undefined;
    this.#changes = new Promise<void>((resolve) => (done = resolve));
    await before;
    try {
      return await change();
    } finally {
      done();
    }
  }

  async #listen(): Promise<void> {
    const { control, name, netns } = this.options;
    if (control === 'none') return;
    const path = control === 'auto' ? await controlPath(name, netns) : control;
    this.#control = await ControlServer.listen(path, (request) => this.#carryOut(request));
  }

  async #carryOut(request: Request): Promise<Status> {
    if (request.command === 'own') {
      const { change, validFor, asked = Infinity } = request;
      // What is refused for adding and removing is named as it was given.
      const late = keepsDeadline(change) ? 0 : Math.max(0, native.now() - asked);
      await this.own(
        change,
        validFor === undefined
          ? {}
          : { validFor: Math.max((validFor ?? Infinity) - late, OVER_MS) },
      );
    }
    return status(this);
  }

  get hasher(): Hasher {
    const { policy, hashMode, hashSeed, buckets } = this.options;
    const mode = policy === 'clusterip' ? { hashMode } : {};
    return (this.#hasher ??= new Hasher({ policy, ...mode, hashSeed, buckets }));
  }

  get conntrack(): Conntrack {
    return (this.#conntrack ??= new Conntrack(this.options, this.#native.connections()));
  }

  get ownership(): Ownership {
    return { buckets: [...this.#owned], validFor: this.#native.remaining() };
  }

  async setOwnership(input: OwnershipInput): Promise<void> {
    const wanted = this.#resolve(input);
    await this.#change(() => wanted);
  }

  async own(change: string, how: { validFor?: number } = {}): Promise<void> {
    const { validFor } = parse(howLong, how, 'the second argument');
    const wanted = (): Owned =>
      this.#resolve(changed(change, this.ownership, this.options, validFor));
    await this.#change(wanted, keepsDeadline(change));
  }

  #tell(fault: NfqClusterError): void {
    // Not from here: what a listener throws is no failure of our caller, and within a call of the addon it would be lost.
    queueMicrotask(() => {
      if (!this.#started) this.#early ??= fault;
      else if (!this.emit('fault', fault)) process.emitWarning(fault);
    });
  }

  #resolve(input: OwnershipInput): Owned {
    return resolveOwnership(input, this.options.buckets, this.options.classic);
  }

  /** @param kept whether the wanted `validFor` counts from the turn of this change, not from the call */
  async #change(wanted: () => Owned, kept = false): Promise<void> {
    const called = native.now();
    const change = async (): Promise<void> => {
      this.#requireOpen();
      const since = kept ? native.now() : called;
      const { owned, validFor } = wanted();
      const remaining = (): number => remainingOf({ validFor }, since);
      if (this.#offloads) await this.#rules?.setOwned({ owned, remaining }, this.#owning());
      await this.#adopt(owned, remaining());
    };
    const installing = this.mechanism !== undefined && this.#rules === undefined;
    const takesTurns = keepsBucket(this.options) || this.#offloads || installing;
    await (takesTurns ? this.#inOrder(change) : change());
  }

  #owning(): Owning {
    return { owned: this.#owned, remaining: () => this.#native.remaining() };
  }

  get #offloads(): boolean {
    return this.options.offload.length > 0;
  }

  #requireOpen(): void {
    if (this.#closing === undefined) return;
    throw new NfqClusterError('ERR_CLOSED', 'The engine is closed', { remedy: 'Open another' });
  }

  async #adopt(owned: readonly number[], validFor: number): Promise<void> {
    try {
      const adopted = this.#native.setOwnership(owned, validFor);
      this.#owned = owned;
      await adopted;
    } catch (error) {
      throw fromNative(error);
    }
  }

  stats(): Stats {
    this.#native.readCounts();
    return this.#stats.stats(this.#stats.snapshot());
  }

  changes(interval = 1000): AsyncIterableIterator<Stats> {
    return this.#growth.every(interval);
  }

  close(how: { deadline?: number } = {}): Promise<void> {
    try {
      const { deadline = CLOSE_DEADLINE_MS } = parse(howToClose, how, 'the argument');
      return (this.#closing ??= this.#close(deadline));
    } catch (error) {
      if (error instanceof NfqClusterError) return Promise.reject(error);
      throw error;
    }
  }

  async #close(deadline: number): Promise<void> {
    clearInterval(this.#lossCheck);
    this.#rulesWatch?.stop();
    await this.#control?.close();
    await this.#changes;
    // Should that fail, removing them may still succeed.
    await this.#rules?.stopQueueing().catch(() => undefined);
    await this.#native.close(deadline);
    try {
      await this.#rules?.remove();
    } finally {
      await this.#netns.release();
      // Not before: whoever ends the process upon this must not leave rules behind.
      this.#growth.end();
      // What a listener throws is no failure of close(), nor may it stand in the place of one.
      queueMicrotask(() => this.emit('close'));
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  ref(): this {
    this.#native.ref();
    return this;
  }

  unref(): this {
    this.#native.unref();
    return this;
  }

  #watchLoss(): void {
    let before = { queueDropped: 0, userDropped: 0 };
    this.#lossCheck = setInterval(() => {
      if (this.listenerCount('loss') === 0) return;
      const { queueDropped, userDropped } = this.stats();
      const lost = {
        queueDropped: queueDropped - before.queueDropped,
        userDropped: userDropped - before.userDropped,
      };
      before = { queueDropped, userDropped };
      if (lost.queueDropped > 0 || lost.userDropped > 0) this.emit('loss', lost);
    }, LOSS_CHECK_MS).unref();
  }

  #watchRules(): void {
    if (this.#rules === undefined) return;
    this.#rulesWatch = new RulesWatch(this.#rules, {
      options: this.options,
      native: this.#native,
      inOrder: (change) => this.#inOrder(change),
      owning: () => this.#owning(),
      tell: (fault) => this.#tell(fault),
    });
  }
}

/** @throws NfqClusterError `ERR_SYSTEM` where there is not enough memory */
function nativeEngine(
  options: ResolvedOptions,
  called: number,
  onFault: (error: unknown) => void,
): NativeEngine {
  const config = {
    ...options,
    netns: netnsPath(options.netns),
    ...scheduling(options),
    hearsExpectations: hearsExpectations(options),
    marksForRules: marksForRules(options),
    table: options.rules === 'none' ? '' : rulesName(options),
  };
  // Nothing before the setup is complete: connmarks may still hold buckets of other options, and conntrack may
  // still take a reply in mid-stream for a new connection.
  const owned = options.rules === 'none' ? options.owned : [];
  try {
    return new native.NativeEngine(config, owned, remainingOf(options, called), onFault);
  } catch (error) {
    throw fromNative(error);
  }
}

/** What is left of `validFor`, which counts from `since`. */
const remainingOf = ({ validFor }: Pick<Owned, 'validFor'>, since: number): number =>
  Math.max(0, since + validFor - native.now());

const notRemoved = (error: unknown, reason: unknown, { name }: ResolvedOptions): unknown =>
  besides(
    error,
    `The rules could not be removed: ${(reason as Error).message}`,
    `Run "nfq-cluster revert --name ${name}"`,
  );

const howToClose = z.strictObject(
  {
    deadline: check<number>(
      'a number of milliseconds, 0 or more',
      (value) => typeof value === 'number' && value >= 0,
    ).optional(),
  },
  'an object with deadline',
);

/** With `auto`, a thread that gathers gets no priority: its verdicts may be late. */
function scheduling({
  realtime,
  gather,
}: ResolvedOptions): Pick<NativeEngineConfig, 'realtime' | 'realtimeRequired'> {
  if (realtime !== 'auto') return { realtime, realtimeRequired: true };
  return { realtime: gather === 0 ? 1 : 0, realtimeRequired: false };
}
