import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { program, PROCESSOR } from './process.js';
import type { Report } from './results.js';

const PATIENCE_MS = 20_000;
/** Measurements before the first round, of which the shortest tells what near is. */
const FIRST = 20;

/** Nanoseconds that a cache line takes from the generator's processor to the contender's. */
async function handover(): Promise<number> {
  const line = [PROCESSOR.generator, PROCESSOR.contender];
  const { stdout } = await promisify(execFile)(program('handover'), line);
  return Number(stdout);
}

/**
 * Waits until the processors are as near to each other as they have been in this run, so that contenders
 * are measured on equal terms; no longer than 20 seconds. The report keeps how near they were.
 */
export async function near({ handovers }: Report): Promise<void> {
  const started = performance.now();
  const known = handovers.length > 0 ? handovers : await first();
  const limit = 1.5 * Math.min(...known);
  let now = await handover();
  while (now > limit && performance.now() - started < PATIENCE_MS) now = await handover();
  handovers.push(now);
}

async function first(): Promise<number[]> {
  const found: number[] = [];
  while (found.length < FIRST) found.push(await handover());
  return found;
}
