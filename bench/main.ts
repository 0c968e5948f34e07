/*
 * The benchmarks, each in a file of its own with a function run(). `npm run bench` builds what they
 * need and starts this.
 */
import { Command, InvalidArgumentError } from 'commander';
import { accessSync, constants, mkdirSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { AIMS } from './aims.js';
import { comparison } from './support/compare.js';
import { readRun } from './support/earlier.js';
import { bars } from './support/plots.js';
import { farRounds } from './support/processors.js';
import { machine, Report, type Machine, type Run, type Settings } from './support/results.js';
import { standing } from './support/standing.js';
import { tables } from './support/table.js';

const BENCHES = ['calls', 'hash', 'packets', 'latency', 'tcp'] as const;
type Bench = (typeof BENCHES)[number];

interface BenchModule {
  run(report: Report, settings: Settings, directory: string): Promise<void>;
}

interface Flags {
  quick?: true;
  rounds?: number;
  compare?: Run;
  out: string;
}

const positive = (text: string): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('not a count');
  return value;
};

const addBench = (text: string, chosen: Bench[] | undefined): Bench[] => {
  const found = BENCHES.find((name) => name === text);
  if (found === undefined) throw new InvalidArgumentError(`choose from ${BENCHES.join(', ')}`);
  return [...new Set(chosen).add(found)];
};

/** Read at once: nothing is measured for a comparison that fails. */
const earlierRun = (file: string): Run => {
  try {
    return readRun(file);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
};

/** At once, too: nothing is measured that cannot be kept. */
function makeDirectory(directory: string, program: Command): void {
  try {
    mkdirSync(directory, { recursive: true });
    accessSync(directory, constants.W_OK);
  } catch (error) {
    program.error(`error: --out cannot be written to: ${(error as Error).message}`);
  }
}

/** Two programs are measured against each other, each on a processor of its own. */
function requireProcessors(names: readonly Bench[], program: Command): void {
  const most = os.availableParallelism();
  if (most < 2 && names.some((name) => name !== 'hash'))
    program.error(`error: two processors are needed, ${most} may be used; hash needs but one`);
}

async function main(names: readonly Bench[], flags: Flags): Promise<void> {
  const quick = flags.quick === true;
  const settings: Settings = {
    quick,
    rounds: flags.rounds ?? (quick ? 2 : 5),
    seconds: quick ? 1 : 3,
  };
  const report = new Report();
  const on = machine();
  let said = '';
  let current = '';
  const keep = (): string => (said = save(measured(report, on, settings), flags));
  const unfinished = (why: string): void =>
    report.fail(`${current} was not measured to its end: ${why}`);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => {
      unfinished(signal);
      keep();
      process.exit(128 + os.constants.signals[signal]);
    });
  for (current of names) {
    report.progress(`${current} ...`);
    const bench = (await import(`./${current}.ts`)) as BenchModule;
    try {
      await bench.run(report, settings, flags.out);
    } catch (error) {
      unfinished((error as Error).message);
      throw error;
    } finally {
      keep();
    }
  }
  console.log(said);
  report.progress(`results.json, results.md and plots are in ${flags.out}`);
  if (report.failed) process.exitCode = 1;
}

function measured(report: Report, on: Machine, settings: Settings): Run {
  const { handovers, results } = report;
  const notes = [...report.notes, ...farRounds(report)];
  on.load[1] = os.loadavg()[0]!;
  if (handovers.length > 0) on.handover = [Math.min(...handovers), Math.max(...handovers)];
  return { date: new Date().toISOString(), machine: on, settings, results, notes };
}

/** @returns what is to be said of it */
function save(run: Run, { out, compare }: Flags): string {
  writeFileSync(path.join(out, 'results.json'), `${JSON.stringify(run, undefined, 1)}\n`);
  bars(run.results, out);
  const said = summary(run, compare);
  writeFileSync(path.join(out, 'results.md'), `${said}\n`);
  return said;
}

function machineLine({
  processors,
  processor,
  kernel,
  node,
  commit,
  load,
  handover,
}: Machine): string {
  const range = (values: readonly number[], digits: number): string =>
    values.map((value) => value.toFixed(digits)).join(' to ');
  return [
    `${processors} × ${processor}, Linux ${kernel}, Node.js ${node}, ${commit}, load ${range(load, 1)}`,
    ...(handover ? [`a cache line from one to the other in ${range(handover, 0)} ns`] : []),
  ].join(', ');
}

function summary(run: Run, earlier: Run | undefined): string {
  const { results, notes, machine: on } = run;
  const stands = standing(results, AIMS);
  return [
    machineLine(on),
    ...(stands === '' ? [] : [`### Against what is aimed at\n\n${stands}`]),
    tables(results),
    ...notes.map((note) => `- ${note}`),
    ...(earlier === undefined ? [] : [`### Change\n\n${comparison(run, earlier)}`]),
  ].join('\n\n');
}

await new Command('npm run bench --')
  .description('measures this package beside the kernel, C and other packages')
  .argument('[bench...]', `${BENCHES.join(', ')} (default: all)`, addBench)
  .option('--quick', 'fewer conditions, 2 rounds of 1 second')
  .option('--rounds <count>', 'rounds of each measurement (default: 5)', positive)
  .option('--compare <file>', 'show the change against an earlier results.json', earlierRun)
  .option('--out <directory>', 'for results.json, results.md and plots', 'bench/results')
  .action((names: Bench[], flags: Flags, program: Command) => {
    const chosen = names.length === 0 ? BENCHES : names;
    requireProcessors(chosen, program);
    makeDirectory(flags.out, program);
    return main(chosen, flags);
  })
  .parseAsync();
