import { createRequire } from 'node:module';
import { Command } from 'commander';
import { addControl } from './control.js';
import { addDoctor } from './doctor.js';
import { addExplain } from './explain.js';
import { addExport } from './export.js';
import { CommandError } from './failure.js';
import { addHash } from './hash.js';
import { addImport } from './import.js';
import { addRun } from './run.js';
import { addSetup } from './setup.js';

const { version, description } = createRequire(import.meta.url)('../../package.json') as Record<
  'version' | 'description',
  string
>;

/** What adds each command, in the order of the help. */
const COMMANDS = [
  addRun,
  addHash,
  addExplain,
  addControl,
  addSetup,
  addDoctor,
  addImport,
  addExport,
];

function program(): Command {
  const top = new Command('nfq-cluster')
    .description(description)
    .version(version)
    .exitOverride()
    .configureOutput({
      outputError: (message, write) => write(message.replace(/^error: /, 'nfq-cluster: ')),
    })
    .showHelpAfterError('(see --help)');
  for (const add of COMMANDS) add(top);
  return top;
}

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
