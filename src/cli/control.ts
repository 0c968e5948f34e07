import { accessSync, constants, existsSync, mkdirSync } from 'node:fs';
import type { Command } from 'commander';
import { Control } from '../control/client.js';
import { listed } from '../control/change.js';
import { CONTROL_DIRECTORY } from '../control/path.js';
import type { Status } from '../control/status.js';
import { CommandError, complain, print } from './failure.js';
import { withControl, withSetup } from './flags.js';
import { checkOptions, onlyGiven } from './options.js';
import { interfaceText } from './report.js';
import { showSetup, type StatusFlags } from './setup.js';
import { milliseconds } from './values.js';

/** Which engine is meant, and how to answer. */
export interface ControlFlags {
  name?: string;
  netns?: string;
  control?: string;
  json?: true;
}

interface OwnFlags extends ControlFlags {
  validFor?: number;
}

/** The commands that speak to a running engine. */
export function addControl(top: Command): void {
  withControl(withSetup(top.command('status')))
    .description('show what a running engine does')
    .option('--json', 'as JSON')
    .option(
      '--setup',
      'instead: which parts of the setup are in place; exit status 1 unless all are. With the flags of apply, also whether the rules are as apply would make them',
    )
    .action(showStatus);
  const owns = top
    .command('own')
    .description('change what a running engine owns, or show it')
    .argument('[change]', '+2 adds node 2, -2 removes it; 1,3 and none replace all');
  withTarget(owns)
    .option(
      '--valid-for <ms>',
      'with a change that replaces all: after this time, own nothing',
      milliseconds,
    )
    .action(own);
}

function showStatus(flags: StatusFlags): Promise<void> {
  if (flags.setup === true) return showSetup(flags);
  const other = Object.keys(flags).some(
    (flag) => !['name', 'netns', 'control', 'json'].includes(flag),
  );
  if (other) throw new CommandError('the flags of a setup need --setup', 2);
  return status(flags);
}

/** The flags that name a running engine. */
const withTarget = (command: Command): Command =>
  withControl(
    command
      .option('--name <name>', "the engine's name (default: q0)")
      .option('--netns <name>', "the engine's network namespace, by its name or path"),
  ).option('--json', 'as JSON');

/** `nfq-cluster status`: a running engine's configuration, ownership and counts. */
async function status(flags: ControlFlags): Promise<void> {
  const answer = await controlOf(flags).status();
  await print(flags.json === true ? `${JSON.stringify(answer)}\n` : asText(answer));
}

/** `nfq-cluster own`: changes what a running engine owns, if there is a change; prints what it owns then. */
async function own(change: string | undefined, flags: OwnFlags): Promise<void> {
  const { validFor } = flags;
  if (change === undefined && validFor !== undefined)
    throw new CommandError('--valid-for needs a change that says what to own, such as 1,3', 2);
  const control = controlOf(flags);
  const answer =
    change === undefined
      ? await control.status()
      : await control.own(change, onlyGiven({ validFor }));
  await print(flags.json === true ? `${JSON.stringify(answer)}\n` : `${owned(answer)}\n`);
}

/**
 * The control socket of a `run` that was not told of one: `none`, with a word about it, where this user may
 * not make one.
 */
export function defaultControl(): 'auto' | 'none' {
  try {
    if (!existsSync(CONTROL_DIRECTORY)) mkdirSync(CONTROL_DIRECTORY, { mode: 0o700 });
    accessSync(CONTROL_DIRECTORY, constants.W_OK | constants.X_OK);
    return 'auto';
  } catch (error) {
    complainOfNone(error as Error);
    return 'none';
  }
}

export const complainOfNone = ({ message }: Error): void =>
  complain(`no control socket: ${message}. Give another path by --control, or --control none`);

export function controlOf({ name, netns, control }: ControlFlags): Control {
  return checkOptions({}, () => new Control(onlyGiven({ name, netns, path: control })));
}

/** As CLUSTERIP's membership file: ascending, with commas, empty for none, as there is once the time is over. */
export function owned({ nodes, ownedBuckets, validFor }: OwnedNow): string {
  if (validFor === 0) return '';
  return nodes === null ? listed(ownedBuckets, true) : listed(nodes, false);
}

type OwnedNow = Pick<Status, 'nodes' | 'ownedBuckets' | 'validFor'>;

function asText(status: Status): string {
  const { name, pid, policy, hashSeed, buckets, nodes, validFor, action, counts } = status;
  const rows = {
    name: `${name}, process ${pid}`,
    policy: `${policy}, seed 0x${hashSeed.toString(16).padStart(8, '0')}`,
    owned: `${nodes === null ? 'buckets' : 'nodes'} ${owned(status) || 'none'} of ${buckets}`,
    'valid for': validity(validFor),
    interfaces: status.interfaces.map(interfaceText).join(', '),
    queues: status.queues.join(', '),
    action,
    rules: status.rules === null ? 'not ours' : `by ${status.rules.by}, ${status.rules.name}`,
    conntrack: `${status.conntrack.source}: ${status.conntrack.why}`,
    ...(status.offload.length === 0
      ? {}
      : {
          'in kernel': `${counts.offloadedOwned} owned, ${counts.offloadedForeign} foreign (offload ${status.offload.join(', ')})`,
        }),
    packets: `${counts.received} received: ${counts.owned} owned, ${counts.foreign} foreign, ${counts.unknown} unknown, ${counts.malformed} malformed`,
    lost: `${counts.queueDropped} to a full queue, ${counts.userDropped} to a full receive buffer`,
  };
  return Object.entries(rows)
    .map(([title, value]) => `${title.padEnd(12)}${value}\n`)
    .join('');
}

const validity = (validFor: number | null): string =>
  validFor === null ? 'ever' : validFor === 0 ? 'no longer' : `${Math.round(validFor)} ms`;
