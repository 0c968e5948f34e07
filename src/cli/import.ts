import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { importRules, type Note } from '../import/index.js';
import { CommandError, complain, print } from './failure.js';

export function addImport(top: Command): void {
  top
    .command('import')
    .description('read load-sharing rules of iptables and nft; print the equivalent options')
    .argument(
      '[files...]',
      'what iptables-save or nft list ruleset printed, or command lines (default: standard input)',
    )
    .option('--json', 'options and notes as one JSON object')
    .action(importFiles);
}

/**
 * `nfq-cluster import`: rules from files or standard input; the equal options on standard output, and what
 * there is to say about them on standard error.
 */
async function importFiles(files: readonly string[], flags: { json?: true }): Promise<void> {
  const { configurations, notes } = importRules(read(files));
  if (flags.json === true) {
    await print(`${JSON.stringify({ configurations, notes })}\n`);
  } else {
    for (const note of notes) complain(spoken(note));
    if (configurations.length > 1)
      complain(
        `${configurations.length} configurations: put each into a file of its own, for a run of its own with --config`,
      );
    for (const options of configurations) await print(`${JSON.stringify(options, undefined, 2)}\n`);
  }
  if (notes.some(({ kind }) => kind === 'refused')) process.exitCode = 1;
  else if (configurations.length === 0) {
    throw new CommandError('no rule with -m cluster, -j CLUSTERIP or jhash was found');
  }
}

const spoken = ({ line, kind, text }: Note): string => `line ${line}: ${kind}: ${text}`;

function read(files: readonly string[]): string {
  try {
    return (files.length === 0 ? [0] : files).map((file) => readFileSync(file, 'utf8')).join('\n');
  } catch (error) {
    throw new CommandError(`cannot read the rules: ${(error as Error).message}`, 2);
  }
}
