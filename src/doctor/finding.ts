import type { ErrorCode } from '../errors.js';
import type { Command } from '../setup/exec.js';
import { quoted } from '../setup/script.js';

/** `skipped`: it could not be found out, or does not apply yet, which is not the same as `ok`. */
export type Level = 'ok' | 'warning' | 'error' | 'skipped';

/** The result of one check. */
export interface Finding {
  /** The check's name, the same in every version, such as `queue listener`. */
  check: string;
  level: Level;
  /** What was found, as a sentence without a full stop. */
  found: string;
  /** What to do about it, as text; undefined if there is nothing to do, or `command` says it all. */
  remedy?: string;
  /** The shell command that does it, if there is one. */
  command?: string;
}

/** Something that was found out, or why it could not be. */
export type Fact<T> = { known: T } | { unknown: string; code?: ErrorCode };

/** A way to mend something: words, and a command where one does it. */
export interface Remedy {
  remedy?: string;
  command?: Command | string;
}

type Judge = (check: string, found: string, remedy?: Remedy, netns?: string) => Finding;

const judge =
  (level: Level): Judge =>
  (check, found, { remedy, command } = {}, netns) => ({
    check,
    level,
    found,
    ...(remedy === undefined ? {} : { remedy }),
    ...(command === undefined ? {} : { command: inNamespace(command, netns) }),
  });

export const ok = (check: string, found: string): Finding => judge('ok')(check, found);
export const warning = judge('warning');
export const error = judge('error');
export const skipped = judge('skipped');

/** The findings of a check that needs a fact; where it is not known, that is the finding. */
export const given = <T>(
  check: string,
  fact: Fact<T>,
  findings: (known: T) => Finding[],
): Finding[] =>
  'known' in fact ? findings(fact.known) : [skipped(check, `Not known: ${fact.unknown}`)];

function inNamespace(command: Command | string, netns: string | undefined): string {
  const line =
    typeof command === 'string'
      ? command
      : [command.program, ...command.args].map(quoted).join(' ');
  return netns === undefined ? line : `nsenter --net=${quoted(netns)} ${line}`;
}
