import type { Command } from 'commander';
import { doctor, type Diagnosis, type Finding } from '../doctor/index.js';
import { print } from './failure.js';
import { withControl, withSetup, type Flags } from './flags.js';
import { onlyGiven, optionsOf } from './options.js';

interface DoctorFlags extends Flags {
  json?: true;
  netns?: string;
}

/** `nfq-cluster doctor`: exit status 1 where anything is an error. */
export function addDoctor(top: Command): void {
  withControl(withSetup(top.command('doctor')))
    .description(
      'check this machine: what is right, what is wrong, and what to do; with the flags of run for that setup, without them for all setups in place',
    )
    .option('--json', 'as JSON')
    .action(look);
}

async function look(flags: DoctorFlags): Promise<void> {
  const { json, netns, ...setup } = flags;
  const diagnosis =
    Object.keys(setup).length === 0
      ? await doctor(undefined, onlyGiven({ netns }))
      : await doctor(optionsOf(flags));
  await print(json === true ? `${JSON.stringify(diagnosis, undefined, 2)}\n` : asLines(diagnosis));
  process.exitCode = diagnosis.healthy ? 0 : 1;
}

const asLines = ({ findings }: Diagnosis): string => findings.map(asLine).join('');

function asLine({ level, check, found, remedy, command }: Finding): string {
  const below = [
    ...(remedy === undefined ? [] : [remedy]),
    ...(command === undefined ? [] : [`$ ${command}`]),
  ];
  return [
    `${level.padEnd(8)} ${check}: ${found}`,
    ...below.map((line) => `           ${line}`),
    '',
  ].join('\n');
}
