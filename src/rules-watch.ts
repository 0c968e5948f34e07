import type { NativeEngine } from './native.js';
import type { Installed, Owning } from './setup/index.js';

const LOOK_EVERY_MS = 250;

/** What the watch needs of its engine. */
interface Watched {
  native: NativeEngine;
  /** Runs changes one after the other, as those of the ownership. */
  inOrder: (change: () => Promise<void>) => Promise<void>;
  /** What the kernel is to decide by itself; undefined if nothing. */
  offloaded: () => Owning | undefined;
  /** Told if the rules are gone, and with a reason if what else was changed cannot be undone. */
  gone: (reason?: Error) => void;
  /** Told if the kernel cannot be made to decide as the engine does. */
  failed: (error: unknown) => void;
}

/**
 * Looks whether the rules of a running engine are in place. If they are gone, everything else that the setup had
 * changed is undone: without rules every node would answer for the addresses. If their table is another one, as of a
 * saved ruleset, its sets may hold what was owned once, and are written anew.
 */
export class RulesWatch {
  readonly #rules: Installed;
  readonly #engine: Watched;
  #timer: NodeJS.Timeout | undefined;
  #table: number | undefined;
  #stopped = false;

  constructor(rules: Installed, engine: Watched) {
    this.#rules = rules;
    this.#engine = engine;
    this.#table = engine.native.tableHandle();
    this.#start();
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
  }

  #start(): void {
    // As may have happened while the rules were looked at.
    if (this.#stopped) return;
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS).unref();
  }

  #look(): void {
    const { native, inOrder } = this.#engine;
    if (!this.#rules.isWhole((...chain) => native.hasChain(...chain) !== false)) {
      clearInterval(this.#timer);
      void inOrder(() => this.#undo());
      return;
    }
    const table = native.tableHandle();
    if (table === undefined || table === this.#table) return;
    this.#table = table;
    void inOrder(() => this.#rewrite());
  }

  async #undo(): Promise<void> {
    if (this.#stopped) return;
    try {
      if (await this.#rules.removeRest()) this.#engine.gone();
      else this.#start();
    } catch (error) {
      this.#engine.gone(error as Error);
    }
  }

  async #rewrite(): Promise<void> {
    const owning = this.#engine.offloaded();
    if (this.#stopped || owning === undefined) return;
    await this.#rules.setOwned(owning).catch((error: unknown) => this.#engine.failed(error));
  }
}
