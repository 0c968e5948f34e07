import { execFileSync } from 'node:child_process';
import os from 'node:os';
import { setImmediate as nextTurn } from 'node:timers/promises';

/** One figure of one contender under one condition: the value of every round. */
export interface Result {
  bench: string;
  /** What was done, such as `64 B, IPv4, 4096 sources, as fast as possible`. */
  condition: string;
  contender: string;
  /** What was measured, such as `handled`. */
  metric: string;
  unit: string;
  better: 'higher' | 'lower';
  /** The same on every run of the same build, so that any change is one. */
  exact?: true;
  values: number[];
}

/** What names a result. */
export type Figure = Pick<Result, 'bench' | 'condition' | 'contender' | 'metric'>;

/** What a run leaves behind, and what `--compare` reads. */
export interface Run {
  date: string;
  machine: Machine;
  /** None in a file of an older suite. */
  settings?: Settings;
  results: Result[];
  /** What could not be measured, and why. */
  notes: string[];
}

export interface Machine {
  processor: string;
  processors: number;
  kernel: string;
  node: string;
  commit: string;
  /** Load average of the last minute, before the first round and after the last one. */
  load: [number, number];
  /** The least and the most nanoseconds that a cache line took between the processors; none: nothing used both. */
  handover?: [number, number];
}

export interface Settings {
  /** Fewer rounds, shorter ones, fewer conditions. */
  quick: boolean;
  /** Rounds of each measurement; contenders take turns within one. */
  rounds: number;
  /** Seconds of traffic in a round. */
  seconds: number;
}

/** Collects results and says on standard error how far it is. */
export class Report {
  readonly results: Result[] = [];
  readonly notes: string[] = [];
  /** Nanoseconds that a cache line took between the processors, before and behind each round on a wire. */
  readonly handovers: number[] = [];
  /** The rounds on a wire that count, and the longest that a cache line took there. */
  readonly kept: { name: string; ns: number }[] = [];
  /** How much of the longest wait for near processors the next round may take, from 0 to 1. */
  patience = 1;
  /** Whether something is missing. */
  failed = false;

  /** Adds one round's value to the result of the same name. */
  add(result: Omit<Result, 'values'>, value: number): void {
    const known = find(this.results, result);
    if (known === undefined) this.results.push({ ...result, values: [value] });
    else known.values.push(value);
  }

  /** Adds what another report has found. */
  take({ results, notes }: Report): void {
    for (const { values, ...result } of results)
      for (const value of values) this.add(result, value);
    for (const note of notes) this.note(note);
  }

  note(text: string): void {
    if (!this.notes.includes(text)) this.notes.push(text);
  }

  /** Notes what is missing, and says it at once. */
  fail(text: string): void {
    this.failed = true;
    this.note(text);
    this.progress(text);
  }

  progress(text: string): void {
    process.stderr.write(`bench: ${text}\n`);
  }
}

/** The result of that name, if it was measured. */
export const find = (results: readonly Result[], figure: Figure): Result | undefined =>
  results.find((result) => sameResult(result, figure));

const sameResult = (a: Figure, b: Figure): boolean =>
  a.bench === b.bench &&
  a.condition === b.condition &&
  a.contender === b.contender &&
  a.metric === b.metric;

export const nameOf = ({ bench, condition, contender }: Figure): string =>
  `${bench}: ${condition}: ${contender}`;

/** Items by what `key` says of them, in the order of their first appearance. */
export function grouped<Item>(
  items: readonly Item[],
  key: (item: Item) => string,
): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group === undefined) groups.set(key(item), [item]);
    else group.push(item);
  }
  return groups;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Half of the range of the rounds. */
export const spread = (values: readonly number[]): number =>
  (Math.max(...values) - Math.min(...values)) / 2;

/** The same as a share of their median: 0.05 is ± 5 %. */
export function noise(values: readonly number[]): number {
  const middle = Math.abs(median(values));
  return middle === 0 ? 0 : spread(values) / middle;
}

/** Of fewer than three rounds the range says next to nothing. */
export const isNoiseKnown = ({ exact, values }: Result): boolean =>
  exact === true || values.length >= 3;

/**
 * Measures contenders in turns, every second round in reverse, so that a change of the machine's
 * mood meets all of them.
 */
export async function alternate<Contender>(
  contenders: readonly Contender[],
  rounds: number,
  measure: (contender: Contender, round: number) => Promise<void> | void,
): Promise<void> {
  for (let round = 0; round < rounds; round += 1) {
    const turn = round % 2 === 0 ? contenders : contenders.toReversed();
    for (const contender of turn) {
      await measure(contender, round);
      await nextTurn(); // so that a signal is seen between what is synchronous
    }
  }
}

export function machine(): Machine {
  const load = os.loadavg()[0]!;
  return {
    processor: os.cpus()[0]!.model,
    processors: os.cpus().length,
    kernel: os.release(),
    node: process.version,
    commit: commit(),
    load: [load, load],
  };
}

function commit(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return 'unknown';
  }
}
