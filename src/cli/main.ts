#!/usr/bin/env node
import { createRequire } from 'node:module';
import { Command } from 'commander';
import { explain, type ExplainFlags } from './explain.js';
import { CommandError, report } from './failure.js';
import { hash } from './hash.js';
import { withHashing, withPackets, withRules, withShare, type Flags } from './flags.js';
import { run, type RunFlags } from './run.js';

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
  const runs = top
    .command('run')
    .description('decide packets until SIGINT or SIGTERM, with rules of its own');
  withRules(withPackets(withShare(withHashing(runs))))
    .option('--json', 'one JSON object a line')
    .action((flags: RunFlags) => run(flags));
  const hashes = top
    .command('hash')
    .description('read addresses, one a line; print each with its bucket and its node');
  withHashing(hashes).action((flags: Flags) => hash(flags));
  const explains = top
    .command('explain')
    .description('show how an address comes to its node')
    .requiredOption('--src <address>', 'IPv4 or IPv6 address');
  withShare(withHashing(explains))
    .option('--json', 'as JSON')
    .action((flags: ExplainFlags) => explain(flags));
  return top;
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

try {
  await program().parseAsync(withoutBang(process.argv.slice(2)), { from: 'user' });
} catch (error) {
  process.exitCode = report(error);
}
