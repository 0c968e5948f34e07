import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { Run } from './results.js';

const machine = z.object({
  processor: z.string(),
  processors: z.number(),
  kernel: z.string(),
  node: z.string(),
  commit: z.string(),
});

const result = z.object({
  bench: z.string(),
  condition: z.string(),
  contender: z.string(),
  metric: z.string(),
  values: z.array(z.number()).min(1),
});

/* What is there besides is passed over. */
const run = z.object({
  date: z.string(),
  machine,
  settings: z.object({ quick: z.boolean(), rounds: z.number(), seconds: z.number() }).optional(),
  results: z.array(result),
});

/**
 * A run that an earlier one left in its results.json.
 * @throws Error with what is wrong with the file
 */
export function readRun(file: string): Run {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new Error(`It cannot be read: ${(error as Error).message}`, { cause: error });
  }
  const [issue] = run.safeParse(value).error?.issues ?? [];
  if (issue === undefined) return value as Run;
  const where = issue.path.map(String).join('.');
  throw new Error(
    `Expected the results.json of an earlier run${where === '' ? '' : `: ${where}`}: ${issue.message}`,
  );
}
