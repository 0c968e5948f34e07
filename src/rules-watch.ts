import { NfqClusterError } from './errors.js';
import type { NativeEngine } from './native.js';
import type { ResolvedOptions } from './options/types.js';
import type { Owning } from './setup/owned.js';
import { rulesName } from './setup/ruleset.js';
import type { Installed } from './setup/setup.js';

const LOOK_EVERY_MS = 250;

/** What the watch needs of its engine. */
interface Watched {
  options: ResolvedOptions;
  native: NativeEngine;
  /** Runs changes one after the other, as those of the ownership. */
  inOrder: (change: () => Promise<void>) => Promise<void>;
  owning: () => Owning;
  tell: (fault: NfqClusterError) => void;
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
    const { native, inOrder, options } = this.#engine;
    if (!this.#rules.isWhole((...chain) => native.hasChain(...chain) !== false)) {
      clearInterval(this.#timer);
      void inOrder(() => this.#undo());
      return;
    }
    if (options.offload.length === 0) return;
    const table = native.tableHandle();
    if (table === undefined || table === this.#table) return;
    this.#table = table;
    void inOrder(() => this.#rewrite());
  }

  async #undo(): Promise<void> {
    if (this.#stopped) return;
    const { options, tell } = this.#engine;
    try {
      if (await this.#rules.removeRest()) tell(gone(options));
      else this.#start();
    } catch (error) {
      tell(gone(options, `. What else was changed cannot be undone: ${(error as Error).message}`));
    }
  }

  async #rewrite(): Promise<void> {
    if (this.#stopped) return;
    const { owning, tell } = this.#engine;
    await this.#rules.setOwned(owning()).catch((error: unknown) => tell(error as NfqClusterError));
  }
}

const gone = (options: ResolvedOptions, more = ''): NfqClusterError =>
  new NfqClusterError('ERR_RULES', `The rules are gone: packets pass undecided${more}`, {
    expected: `the setup of this engine, in the table ${rulesName(options)}`,
    found: 'none, an emptied one, or another: "nft flush ruleset" removes it, as does revert()',
    remedy: 'Close the engine, and open another once nothing removes its rules any more',
  });
