import type { Plan } from './api.js';
import type { Command } from './exec.js';

/** A plan for people: each step with its reason, its command and what undoes it. */
export function asList({ steps, netns }: Plan): string {
  return steps
    .map((step, at) =>
      [
        `${at + 1}. ${step.what}${step.inPlace ? ' (already so)' : ''}`,
        indented(step.why),
        indented(asShell(step, netns)),
        ...(step.undo === undefined ? [] : [indented(`Undone by:\n${asShell(step.undo, netns)}`)]),
        '',
      ].join('\n'),
    )
    .join('\n');
}

/** A plan as a shell script, which ends at the first command that fails. Steps that are in place are left out. */
export function asScript({ name, steps, netns }: Plan): string {
  const parts = steps
    .filter(({ inPlace }) => !inPlace)
    .map((step) => `\n# ${step.what}\n# ${step.why}\n${asShell(step, netns)}\n`);
  const where = netns === undefined ? '' : ` --netns ${quoted(netns)}`;
  return `#!/bin/sh
# Sets up the cluster node ${name}. To take it back: nfq-cluster revert --name ${name}${where}
set -eu
${parts.join('')}`;
}

/** A command as a shell takes it, for a network namespace that is named by its path. */
export function asShell({ program, args, input }: Command, netns: string | undefined): string {
  const enter = netns === undefined ? '' : `nsenter --net=${quoted(netns)} `;
  const line = enter + [program, ...args].map(quoted).join(' ');
  return input === undefined ? line : `${line} <<'END'\n${input}END`;
}

/** A word as a shell takes it. */
const quoted = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;

const indented = (text: string): string =>
  text
    .split('\n')
    .map((line) => `   ${line}`.trimEnd())
    .join('\n');
