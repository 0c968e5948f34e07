import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { program, PROCESSOR } from './process.js';
import { nameOf, Report } from './results.js';

const PATIENCE_MS = 20_000;
const TRIES = 3;
/** Measurements before the first round, of which the shortest tells what near is. */
const FIRST = 20;

/** Nanoseconds that a cache line takes from the generator's processor to the contender's. */
async function handover(): Promise<number> {
  const line = [PROCESSOR.generator, PROCESSOR.contender];
  const { stdout } = await promisify(execFile)(program('handover'), line);
  return Number(stdout);
}

/**
 * What a round finds on processors that are as near to each other before and behind it as they have been in this run,
 * so that contenders are measured on equal terms. Waits for that, no longer than 20 seconds, and measures the
 * round anew where they were moved apart, no more than three times in all. The report keeps how near they were, and
 * notes a round that is kept although they were not.
 */
export async function near(
  report: Report,
  measure: (round: Report) => Promise<void>,
): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    const before = await whenNear(report);
    const round = new Report();
    await measure(round);
    const after = await handover();
    if (after <= limit(report) || tries === TRIES) {
      noteFar(report, round, Math.max(before, after));
      report.take(round);
      report.handovers.push(before, after);
      return;
    }
    report.progress('the processors were moved apart: the same again');
  }
}

function noteFar(report: Report, { results: [result] }: Report, found: number): void {
  if (found <= limit(report) || result === undefined) return;
  report.note(
    `${nameOf(result)}: a round in which the processors were far from each other is among these, ${found.toFixed(0)} ns.`,
  );
}

async function whenNear(report: Report): Promise<number> {
  const started = performance.now();
  if (report.handovers.length === 0) report.handovers.push(await nearest());
  let now = await handover();
  while (now > limit(report) && performance.now() - started < PATIENCE_MS) now = await handover();
  return now;
}

const limit = ({ handovers }: Report): number => 1.5 * Math.min(...handovers);

async function nearest(): Promise<number> {
  let found = await handover();
  for (let left = FIRST; left > 1; left -= 1) found = Math.min(found, await handover());
  return found;
}
