import { createRequire } from 'node:module';
import { Command, Option } from 'commander';
import { own, status, type OwnFlags } from './control.js';
import { addDoctor } from './doctor.js';
import { FORMATS } from '../export/index.js';
import { exportConfiguration, type ExportCommandFlags } from './export.js';
import { explain, type ExplainFlags } from './explain.js';
import { CommandError } from './failure.js';
import { hash } from './hash.js';
import {
  withControl,
  withHashing,
  withPackets,
  withRules,
  withSetup,
  withShare,
  type Flags,
} from './flags.js';
import { importFiles } from './import.js';
import { run, type RunFlags } from './run.js';
import { addSetup, showSetup, type StatusFlags } from './setup.js';
import { milliseconds, u32 } from './values.js';

const { version, description } = createRequire(import.meta.url)('../../package.json') as Record<
  'version' | 'description',
  string
>;

function program(): Command {
  const top = new Command('nfq-cluster')
    .description(description)
    .version(version)
    .exitOverride()
    .configureOutput({
      outputError: (message, write) => write(message.replace(/^error: /, 'nfq-cluster: ')),
    })
    .showHelpAfterError('(see --help)');
  withSetup(top.command('run'))
    .description(
      'decide packets until SIGINT, SIGTERM or SIGHUP; rules are installed first and removed at the end',
    )
    .option(
      '--control <path>',
      'socket for the commands status and own, or none (default: in /run/nfq-cluster, by --name)',
    )
    .option('--json', 'one JSON object per line')
    .action((flags: RunFlags) => run(flags));
  withHashing(top.command('hash'))
    .description(
      'read addresses, one per line (for policy clusterip SOURCE,PROTOCOL,SPORT,DPORT); print each with its bucket and its node',
    )
    .action((flags: Flags) => hash(flags));
  for (const add of [addExplain, addControlCommands, addSetup, addDoctor, addRuleCommands])
    add(top);
  return top;
}

function addExplain(top: Command): void {
  const explains = top
    .command('explain')
    .description(
      'show how an address or, with --dst, a packet of a connection is assigned its node',
    )
    .requiredOption('--src <address>', 'IPv4 or IPv6 address')
    .option('--dst <address>', "the packet's destination: asks the kernel for its connection")
    .option('--netns <name>', 'with --dst: network namespace, by its name or path');
  withShare(withHashing(explains))
    .option(
      '--proto <number>',
      'IP protocol number, with --dst (mandatory) or policy clusterip',
      u32,
    )
    .option(
      '--sport <port>',
      'source port, with --dst or policy clusterip (for a ping: its id)',
      u32,
    )
    .option('--dport <port>', 'destination port, as --sport (for a ping: type * 256 + code)', u32)
    .option(
      '--bucket-bits <mask>',
      'with --dst: bits of the connmark that hold the bucket (default: 0x03ff0000)',
      u32,
    )
    .option('--json', 'as JSON')
    .action((flags: ExplainFlags) => explain(flags));
}

/** The commands that read and write rules of other programs. */
function addRuleCommands(top: Command): void {
  top
    .command('import')
    .description('read load-sharing rules of iptables and nft; print the equivalent options')
    .argument(
      '[files...]',
      'what iptables-save or nft list ruleset printed, or command lines (default: standard input)',
    )
    .option('--json', 'options and notes as one JSON object')
    .action((files: string[], flags: { json?: true }) => importFiles(files, flags));
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
  withRules(withPackets(withShare(withHashing(withControl(exports))))).action(
    (flags: ExportCommandFlags) => exportConfiguration(flags),
  );
}

/** The commands that speak to a running engine. */
function addControlCommands(top: Command): void {
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
    .action((change: string | undefined, flags: OwnFlags) => own(change, flags));
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

/** The flags of `own` behind which a value stands. */
const VALUED = ['--name', '--netns', '--control', '--valid-for'];

/** `own -2` as `own -- -2`, with the options before it: a number is no option. */
function withoutDash(args: readonly string[]): string[] {
  const isChange = (arg: string, at: number): boolean =>
    args[0] === 'own' && /^-\d/.test(arg) && !VALUED.includes(args[at - 1]!);
  const changes = args.filter(isChange);
  if (changes.length === 0 || args.includes('--')) return [...args];
  return [...args.filter((arg, at) => !isChange(arg, at)), '--', ...changes];
}

/** The man page's `! --cluster-local-node 1` as `--invert --cluster-local-node 1`. */
function withoutBang(args: readonly string[]): string[] {
  return args.map((arg, at) => {
    if (arg !== '!') return arg;
    if (/^--cluster-local-node(mask)?(=|$)/.test(args[at + 1] ?? '')) return '--invert';
    throw new CommandError(
      'a lone ! may stand only before --cluster-local-node and --cluster-local-nodemask',
      2,
    );
  });
}

/** Runs the command that the arguments name. */
export async function main(args: readonly string[]): Promise<void> {
  await program().parseAsync(withoutBang(withoutDash(args)), { from: 'user' });
}
