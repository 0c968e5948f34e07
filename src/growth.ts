import { setTimeout as delay } from 'node:timers/promises';
import { isInteger } from './options/checks.js';
import { invalidOption } from './errors.js';
import type { Snapshot, Stats, StatsReader } from './stats.js';

/** The longest that Node's timers take: with a longer one they fire every millisecond. */
const LONGEST_INTERVAL = 0x7fff_ffff;

/** The growth of an engine's counts, for any number of iterators, until it ends. */
export class Growth {
  readonly #stats: StatsReader;
  readonly #readCounts: () => void;
  /** Of the iterators that wait; each ends when it is aborted. Who drops an iterator need not end it. */
  readonly #endings = new Set<AbortController>();
  #ended = false;

  /** @param readCounts fetches what the kernel has counted */
  constructor(stats: StatsReader, readCounts: () => void) {
    this.#stats = stats;
    this.#readCounts = readCounts;
  }

  /** As `Engine.changes()`. */
  every(interval: number): AsyncIterableIterator<Stats> {
    const ending = new AbortController();
    const items = this.#items(interval, ending);
    const finish = items.return.bind(items);
    // By itself a generator's return() waits for the next() that is under way: for a whole interval.
    const value: typeof finish = () => {
      ending.abort();
      return finish();
    };
    // Defined, as it cannot be assigned where Node.js has --frozen-intrinsics.
    return Object.defineProperty(items, 'return', { value });
  }

  end(): void {
    this.#ended = true;
    for (const ending of this.#endings) ending.abort();
  }

  async *#items(interval: number, ending: AbortController): AsyncGenerator<Stats, void, void> {
    if (!isInteger(interval, 1, LONGEST_INTERVAL)) {
      const expected = `an integer of milliseconds from 1 to ${LONGEST_INTERVAL}`;
      throw invalidOption('interval', expected, interval);
    }
    let before = this.#snapshot();
    for (let due = performance.now() + interval; ; due += interval) {
      const now = performance.now();
      // Of intervals that the consumer let pass there is one item, at once, and not one each.
      due = Math.max(due, now);
      if (!(await this.#wait(due - now, ending))) return;
      const counts = this.#snapshot();
      yield this.#stats.stats(counts, before);
      before = counts;
    }
  }

  /** @returns whether the time has passed, and nothing has ended */
  async #wait(ms: number, ending: AbortController): Promise<boolean> {
    if (this.#ended) return false;
    const { signal } = ending;
    this.#endings.add(ending);
    try {
      await delay(ms, undefined, { signal, ref: false });
      return true;
    } catch (error) {
      if (!signal.aborted) throw error;
      return false;
    } finally {
      this.#endings.delete(ending);
    }
  }

  #snapshot(): Snapshot {
    this.#readCounts();
    return this.#stats.snapshot();
  }
}
