/* The laboratory's command line: `npm start`. */
import { spawn, type ChildProcess } from 'node:child_process';
import { on } from 'node:events';
import { constants } from 'node:os';
import { Command, InvalidArgumentError } from 'commander';
import { NfqClusterError } from '../errors.js';
import { guide } from './guide.js';
import type { LaboratoryPlan } from './laboratory.js';
import { ended } from './namespaces.js';
import { program } from './programs.js';
import { progressOn } from './progress.js';
import type { FromHolder } from './protocol.js';
import { exitStatus, summary } from './report.js';
import { findPrivilege, type Privilege } from './system.js';
import { SHARED } from './topology.js';

const SOURCES = 1000;
const MAX_NODES = 8;

interface Flags {
  nodes: number;
  json: boolean;
  keep: boolean;
}

type Finished = Extract<FromHolder, { event: 'report' }>;

/** The signal that was to end the laboratory early. */
let interrupted: NodeJS.Signals | undefined;

async function run({ nodes, json, keep }: Flags): Promise<void> {
  const privilege = findPrivilege();
  console.error(
    `${nodes} nodes share ${SHARED.ipv4}, ${SHARED.ipv6} and the multicast MAC ${SHARED.mac}.\n` +
      `${SOURCES} IPv4 and ${SOURCES} IPv6 clients each make a TCP connection and a UDP exchange.`,
  );
  const holder = startHolder(privilege, { nodes, sources: SOURCES, keep });
  const { report, standing } = await finished(holder);
  holder.disconnect(); // ends it, unless it keeps the laboratory
  if (keep) holder.unref();
  else await ended(holder);
  console.log(json ? JSON.stringify(report, undefined, 2) : `\n${summary(report)}`);
  process.exitCode = exitStatus(report);
  if (keep) console.error(`\n${guide(standing, privilege.prefix.length === 0)}`);
}

/** In a session of its own, so that Ctrl-C comes here first and a kept laboratory stays. */
function startHolder({ prefix, env }: Privilege, plan: LaboratoryPlan): ChildProcess {
  const line = [...prefix, process.execPath, program('./holder'), JSON.stringify(plan)];
  const holder = spawn(line[0]!, line.slice(1), {
    env,
    detached: true,
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => {
      interrupted = signal;
      holder.kill();
    });
  }
  return holder;
}

async function finished(holder: ChildProcess): Promise<Finished> {
  const progress = progressOn(process.stderr);
  for await (const [message] of on(holder, 'message', { close: ['disconnect'] }) as AsyncIterable<
    [FromHolder]
  >) {
    if (message.event === 'progress') progress(message.done, message.of);
    else if (message.event === 'report') return message;
    else {
      holder.disconnect();
      throw new NfqClusterError('ERR_SYSTEM', message.message);
    }
  }
  throw new NfqClusterError(
    'ERR_SYSTEM',
    `The laboratory ended early, with ${await ended(holder)}`,
  );
}

function nodeCount(text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= 1 && number <= MAX_NODES) return number;
  throw new InvalidArgumentError(`Expected a whole number from 1 to ${MAX_NODES}.`);
}

const command = new Command('npm start --')
  .description(
    'A cluster in network namespaces: all nodes see every packet, and real clients tell whether exactly one answers.',
  )
  .option('--nodes <number>', `how many nodes, 1 to ${MAX_NODES}`, nodeCount, 3)
  .option('--json', 'print the report as one JSON document', false)
  .option('--keep', 'leave the laboratory standing, and say how to look around', false)
  .action(run);

try {
  await command.parseAsync();
} catch (error) {
  if (!(error instanceof NfqClusterError)) throw error;
  if (interrupted === undefined) console.error(`npm start: ${error.message}`);
  process.exitCode = interrupted === undefined ? 1 : 128 + constants.signals[interrupted];
}
