import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { program, PROCESSOR } from './process.js';
import { nameOf, Report } from './results.js';

/** The longest that one round waits for near processors, what it measured in vain included. */
const PATIENCE_MS = 40_000;
/** A share of that: enough for a few looks. */
const LEAST_PATIENCE = 1 / 64;
/** Measurements before the first round, of which the shortest tells what near is. */
const FIRST = 20;
/** More rounds than these are told by their number alone. */
const NAMED = 20;

/** Nanoseconds that a cache line takes from the generator's processor to the contender's. */
async function handover(): Promise<number> {
  const line = [PROCESSOR.generator, PROCESSOR.contender];
  const { stdout } = await promisify(execFile)(program('handover'), line);
  return Number(stdout);
}

/** Microseconds: what is late by more than that was not late by the contender alone. */
const STRETCH = 50;

/** What is to be noted of how much of its processor's time a contender cannot have. */
export async function heldUp(seconds = 3): Promise<string> {
  const line = [PROCESSOR.contender, String(seconds), String(STRETCH)];
  const { stdout } = await promisify(execFile)(program('held_up'), line);
  return `A loop that does nothing else on the contender's processor was held up in ${Number(stdout).toFixed(2)} % of the time, for more than ${STRETCH} µs each: by interrupts and the host.`;
}

/**
 * What a round finds on processors that are as near to each other before and behind it as they have been in this run,
 * so that contenders are measured on equal terms. Waits for that, and measures the round anew where they were moved
 * apart, as long as the report's patience lasts. A round that is kept although they were apart leaves a
 * quarter of the patience to the next, so that a run ends where they stay apart; each that was near doubles it.
 */
export async function near(
  report: Report,
  measure: (round: Report) => Promise<void>,
): Promise<void> {
  const deadline = performance.now() + report.patience * PATIENCE_MS;
  for (;;) {
    const before = await whenNear(report, deadline);
    const round = new Report();
    await measure(round);
    const after = await handover();
    const isNear = Math.max(before, after) <= limit(report);
    if (isNear || performance.now() >= deadline) {
      report.patience = isNear
        ? Math.min(1, report.patience * 2)
        : Math.max(LEAST_PATIENCE, report.patience / 4);
      const [result] = round.results;
      if (result !== undefined)
        report.kept.push({ name: nameOf(result), ns: Math.max(before, after) });
      report.take(round);
      report.handovers.push(before, after);
      return;
    }
    report.progress('the processors were moved apart: the same again');
  }
}

/** What is to be noted of the rounds that were kept although the processors were apart. */
export function farRounds(report: Report): string[] {
  const far = report.kept.filter(({ ns }) => ns > limit(report));
  if (far.length === 0) return [];
  const named = far.map(({ name, ns }) => `\n  - ${name}: ${ns.toFixed(0)} ns`);
  return [
    `${far.length} of ${report.kept.length} rounds were measured while the processors were far from each other` +
      (far.length <= NAMED ? `:${named.join('')}` : '.'),
  ];
}

async function whenNear(report: Report, deadline: number): Promise<number> {
  if (report.handovers.length === 0) report.handovers.push(await nearest());
  let now = await handover();
  while (now > limit(report) && performance.now() < deadline) now = await handover();
  return now;
}

const limit = ({ handovers }: Report): number => 1.5 * Math.min(...handovers);

async function nearest(): Promise<number> {
  let found = await handover();
  for (let left = FIRST; left > 1; left -= 1) found = Math.min(found, await handover());
  return found;
}
