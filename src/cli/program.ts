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
    .showHelpAfterError('(--help lists what there is)');
  withSetup(top.command('run'))
    .description('decide packets until SIGINT, SIGTERM or SIGHUP, with rules of its own')
    .option(
      '--control <path>',
      'socket for status and own; none: no socket (default: in /run/nfq-cluster, by the name)',
    )
    .option('--json', 'one JSON object a line')
    .action((flags: RunFlags) => run(flags));
  withHashing(top.command('hash'))
    .description(
      'read addresses, one a line (for policy clusterip SOURCE,PROTOCOL,SPORT,DPORT); print each with its bucket and its node',
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
      "show how an address comes to its node or, with --dst, a packet: by its connection's key",
    )
    .requiredOption('--src <address>', 'IPv4 or IPv6 address')
    .option('--dst <address>', "the packet's destination: asks the kernel for its connection")
    .option('--netns <name>', 'with --dst: network namespace, by its name or path');
  withShare(withHashing(explains))
    .option(
      '--proto <number>',
      "IP protocol's number, with --dst, which needs it, or policy clusterip",
      u32,
    )
    .option('--sport <port>', 'source port, likewise (of a ping: its id)', u32)
    .option('--dport <port>', 'destination port, likewise (of a ping: type * 256 + code)', u32)
    .option(
      '--bucket-bits <mask>',
      'with --dst: where the connmark holds it (default: 0x03ff0000)',
      u32,
    )
    .option('--json', 'as JSON')
    .action((flags: ExplainFlags) => explain(flags));
}

/** The commands that read and write rules of other programs. */
function addRuleCommands(top: Command): void {
  top
    .command('import')
    .description('read rules of iptables and nft that share load; print the equal options')
    .argument(
      '[files...]',
      'what iptables-save or nft list ruleset printed, or command lines (default: standard input)',
    )
    .option('--json', 'options and remarks as one JSON object')
    .action((files: string[], flags: { json?: true }) => importFiles(files, flags));
  const exports = top
    .command('export')
    .description('print a configuration, given or running, as rules of another program')
    .addOption(new Option('--to <program>', 'whose rules').choices(FORMATS).makeOptionMandatory())
    .option('--running', 'that of a running engine: by --name, --netns and --control')
    .option('--ipv4', 'nft: rules for IPv4 alone')
    .option('--address <address>', 'pacemaker: the address that is shared');
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
      'instead: what of its setup is in place; exit status 1 unless all of it is. With the flags of apply, also whether the rules are as it makes them',
    )
    .action(showStatus);
  const owns = top
    .command('own')
    .description('change what a running engine owns, or show it')
    .argument('[change]', '+2 adds node 2, -2 removes it; 1,3 and none replace all');
  withTarget(owns)
    .option('--valid-for <ms>', 'where all is replaced: nothing is owned after it', milliseconds)
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
