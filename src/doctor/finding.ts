import type { ErrorCode } from '../errors.js';
import type { Command } from '../setup/exec.js';
import { asShell } from '../setup/script.js';

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
interface Remedy {
  remedy?: string;
  /** A `Command` is for the network namespace that is checked; text is printed as it is. */
  command?: Command | string;
}

/** A finding whose command is not printed yet. */
export interface Judged extends Omit<Finding, keyof Remedy>, Remedy {}

const judge =
  (level: Level) =>
  (check: string, found: string, remedy: Remedy = {}): Judged => ({
    check,
    level,
    found,
    ...remedy,
  });

export const ok = judge('ok');
export const warning = judge('warning');
export const error = judge('error');
export const skipped = judge('skipped');

/** The findings of a check that needs facts; where one is not known, that is the finding. */
export function given<T extends unknown[]>(
  check: string,
  facts: readonly [...{ [I in keyof T]: Fact<T[I]> }],
  findings: (...known: T) => Judged[],
): Judged[] {
  const known: unknown[] = [];
  for (const fact of facts as readonly Fact<unknown>[]) {
    if ('unknown' in fact) return [skipped(check, `Not known: ${fact.unknown}`)];
    known.push(fact.known);
  }
  return findings(...(known as T));
}

/** @param netns the path of the namespace that is checked; undefined for the process's own */
export const printedFor =
  (netns: string | undefined) =>
  ({ command, ...finding }: Judged): Finding =>
    command === undefined ? finding : { ...finding, command: asText(command, netns) };

const asText = (command: Command | string, netns: string | undefined): string =>
  typeof command === 'string' ? command : asShell(command, netns);
