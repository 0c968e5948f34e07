import type { Command } from 'commander';
import type { InterfaceOptions, ResolvedOptions } from '../options/types.js';
import { resolveOptions } from '../options/resolve.js';
import { apply, plan, revert, status, warningsOf, type Plan } from '../setup/api.js';
import { asList, asScript } from '../setup/script.js';
import { purposeOf } from '../setup/changes.js';
import { listenedQueues } from '../setup/held.js';
import { setQueueRule } from '../setup/queue-rule.js';
import type { SetupStatus } from '../setup/status.js';
import { queuesFrom } from '../setup/words.js';
import type { ControlFlags } from './control.js';
import { CommandError, complain, print } from './failure.js';
import { withSetup, type Flags } from './flags.js';
import { checkOptions, onlyGiven, optionsOf } from './options.js';
import { numberRange } from './values.js';

interface SetupFlags extends Flags {
  json?: true;
  script?: true;
  replace?: true;
}

export interface StatusFlags extends Flags, ControlFlags {
  setup?: true;
  interface?: InterfaceOptions[];
}

interface NameFlags {
  name?: string;
  netns?: string;
  json?: true;
}

interface QueueRuleFlags {
  name: string;
  queue: number[];
  queueCpuFanout?: true;
  netns?: string;
}

/** The commands that set a node up for longer than a process lives. */
export function addSetup(top: Command): void {
  withPlan(top.command('plan'))
    .description('show what apply would do: each step, its reason, its command, what undoes it')
    .option('--script', 'as a shell script')
    .action(showPlan);
  withPlan(top.command('apply'))
    .description('set this node up, until revert: rules, cluster MAC, addresses, kernel parameters')
    .action(applySetup);
  top
    .command('revert')
    .description('undo a setup, even one whose process was killed')
    .option('--name <name>', 'name of the setup (default: q0)')
    .option('--netns <name>', 'network namespace, by its name or path')
    .action(({ name, netns }: NameFlags) => revert(onlyGiven({ name, netns })));
  top
    .command('queue-rule')
    .description('the step of plan --script that makes the rules of nft-compat queue')
    .requiredOption('--name <name>', 'name of the setup')
    .requiredOption('--queue <range>', 'queue numbers, such as 0-3', numberRange)
    .option('--queue-cpu-fanout', 'as in the setup')
    .option('--netns <name>', 'network namespace, by its name or path')
    .action(setRule);
}

/** Checked as among all the options of a setup. */
function setRule({ name, queue, queueCpuFanout, netns }: QueueRuleFlags): Promise<void> {
  const options = checkOptions({}, () =>
    resolveOptions({
      ...{ interfaces: ['any'], hashSeed: 0, totalNodes: 1, localNode: 1, rules: 'nft-compat' },
      ...{ name, netns, queues: queue, queueCpuFanout },
    }),
  );
  return setQueueRule(options, netns);
}

const withPlan = (command: Command): Command =>
  withSetup(command)
    .option('--replace', 'replace a setup of this name that is in place with other options')
    .option('--json', 'the plan as JSON');

async function showPlan(flags: SetupFlags): Promise<void> {
  const made = await plan(optionsOf(flags), { replace: flags.replace === true });
  made.warnings.forEach(complain);
  if (flags.json === true) await printJson(made);
  else await print(flags.script === true ? asScript(made) : asList(made));
}

async function applySetup(flags: SetupFlags): Promise<void> {
  const options = optionsOf(flags);
  // Before anything is done: afterwards, who is cut off does not read it.
  const resolved = resolveOptions(options);
  warningsOf(resolved).forEach(complain);
  const made = await apply(options, { replace: flags.replace === true });
  if (flags.json === true) await printJson(made);
  else complain(applied(made, await stateOf(resolved)));
}

function applied({ name, steps }: Plan, state: string): string {
  const kept = steps.filter(({ inPlace }) => inPlace).length;
  const already = kept === 0 ? '' : ` (${kept} of ${steps.length} steps already were)`;
  return `the setup ${name} is in place${already}; ${state}`;
}

/** What becomes of packets now that it stands. */
async function stateOf({ interfaces, queues, netns }: ResolvedOptions): Promise<string> {
  const listened = (await listenedQueues(netns)) ?? [];
  if (queues.every((queue) => listened.includes(queue)))
    return queues.length === 1 ? 'its queue has a listener' : 'its queues have listeners';
  const narrow = interfaces.every(({ destinations }) => destinations === 'addresses');
  const what = narrow ? 'packets to its cluster addresses' : 'packets';
  return `${what} are dropped until "nfq-cluster run" decides them`;
}

/** The flags that do not describe a setup, but name it, or say how to answer. */
const NAMING = ['setup', 'name', 'netns', 'control', 'json'];

/** `nfq-cluster status --setup`; with the flags of apply, the rules are compared with those that it makes. */
export async function showSetup(flags: StatusFlags): Promise<void> {
  const { name, netns, json } = flags;
  const isNamedAlone = Object.keys(flags).every((flag) => NAMING.includes(flag));
  if (!isNamedAlone && flags.interface === undefined && flags.config === undefined) {
    throw new CommandError(
      'the flags of a setup need --interface or --config; to name a setup, --name is enough',
      2,
    );
  }
  const found = await status(
    onlyGiven({ name, netns }),
    isNamedAlone ? undefined : optionsOf(flags),
  );
  if (json === true) await printJson(found);
  else await print(asLines(found));
  process.exitCode = isWhole(found) ? 0 : 1;
}

const isWhole = ({ rules, changes, steps }: SetupStatus): boolean =>
  rules &&
  changes.every(({ inPlace }) => inPlace) &&
  (steps ?? []).every(({ state }) => state === 'in place');

function asLines({ name, rules, standing, queues, changes, steps }: SetupStatus): string {
  if (!rules) return `${name}: no rules\n`;
  const [first, last] = queues ?? [];
  const rows = [
    `${name}: rules are in place, ${standing ? 'until they are reverted' : 'for one process'}`,
    ...(first === undefined ? [] : [queuesFrom(first, last!)]),
    ...(steps === undefined
      ? changes.map((change) => `${change.inPlace ? 'yes' : 'NO '} ${purposeOf(change)}`)
      : steps.map(({ what, state }) => `${STATES[state]} ${what}`)),
  ];
  return `${rows.join('\n')}\n`;
}

const STATES = {
  'in place': 'yes    ',
  changed: 'CHANGED',
  missing: 'NO     ',
  unknown: 'unknown',
};

const printJson = (value: unknown): Promise<void> =>
  print(`${JSON.stringify(value, undefined, 2)}\n`);
