import { Option, type Command } from 'commander';
import {
  exportRules,
  FORMATS,
  ofStatus,
  type Exportable,
  type ExportFormat,
} from '../export/index.js';
import { resolveOptions } from '../options/resolve.js';
import { controlOf, type ControlFlags } from './control.js';
import { CommandError, print } from './failure.js';
import {
  withControl,
  withHashing,
  withPackets,
  withRules,
  withShare,
  type Flags,
} from './flags.js';
import { checkOptions, onlyGiven, toOptions } from './options.js';

interface ExportCommandFlags extends Omit<Flags, 'address'>, ControlFlags {
  to: ExportFormat;
  running?: true;
  ipv4?: true;
  address?: string;
}

export function addExport(top: Command): void {
  const exports = top
    .command('export')
    .description("print a configuration, or a running engine's, as rules for another program")
    .addOption(
      new Option('--to <program>', 'the program that the rules are for')
        .choices(FORMATS)
        .makeOptionMandatory(),
    )
    .option(
      '--running',
      'the configuration of a running engine, found by --name, --netns and --control',
    )
    .option('--ipv4', 'nft: rules for IPv4 alone')
    .option('--address <address>', 'pacemaker: the shared address');
  withRules(withPackets(withShare(withHashing(withControl(exports))))).action(exportConfiguration);
}

/** `nfq-cluster export`: a configuration, given or running, as text for another program. */
async function exportConfiguration(flags: ExportCommandFlags): Promise<void> {
  const { address, ...others } = flags;
  const { to, ipv4, running } = others;
  const from = running === true ? await ofRunning(others) : given(others);
  await print(exportRules(from, to, onlyGiven({ ipv4, address })));
}

async function ofRunning(flags: Omit<ExportCommandFlags, 'address'>): Promise<Exportable> {
  const known = ['to', 'running', 'ipv4', 'name', 'netns', 'control'];
  if (Object.keys(flags).some((flag) => !known.includes(flag))) {
    throw new CommandError(
      '--running exports what the engine reports; of the other flags it takes --name, --netns and --control',
      2,
    );
  }
  return ofStatus(await controlOf(flags).status());
}

const given = (flags: Flags): Exportable =>
  checkOptions(flags, () => resolveOptions(toOptions(flags)));
