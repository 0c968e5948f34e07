import { readFileSync } from 'node:fs';
import { NfqClusterError, printed } from '../errors.js';
import type { InterfaceOptions, Options } from '../options/types.js';
import { resolveOptions } from '../options/resolve.js';
import { CommandError } from './failure.js';
import { OPTION_FLAGS, type Flags } from './flags.js';
import type { Assignment } from './values.js';

/** Options by the names that open() has for them, not yet checked. */
export type GivenOptions = Readonly<Record<string, unknown>>;

/** The file's options, and those of the flags over them. */
export function toOptions(flags: Flags): GivenOptions {
  const given = fromFlags(flags);
  const file = flags.config === undefined ? {} : readConfig(flags.config);
  const options: GivenOptions = {
    ...Object.fromEntries(Object.entries(file).filter(([name]) => !isReplaced(name, given))),
    ...given,
    ...('marks' in given ? { marks: merged(file['marks'], given['marks']) } : {}),
  };
  const interfaces = withShared(flags, options['interfaces']);
  return interfaces === undefined ? options : { ...options, interfaces };
}

/** The file's marks with those of the flags; what is no object is refused with all options. */
function merged(marks: unknown, given: unknown): unknown {
  if (marks === undefined) return given;
  return typeof marks !== 'object' || marks === null || Array.isArray(marks)
    ? marks
    : { ...marks, ...(given as object) };
}

/** The interfaces with what `--address`, `--mac`, `--group` and `--destinations` say of them; undefined where they say nothing. */
function withShared(flags: Flags, interfaces: unknown): InterfaceOptions[] | undefined {
  const { address = [], mac = [], group = [], destinations = [] } = flags;
  const given = {
    '--address': address,
    '--mac': mac,
    '--group': group,
    '--destinations': destinations,
  };
  if (Object.values(given).every((assignments) => assignments.length === 0)) return undefined;
  const list = Array.isArray(interfaces) ? (interfaces as (string | InterfaceOptions)[]) : [];
  const named = list.map((entry) => (typeof entry === 'string' ? { name: entry } : { ...entry }));
  for (const [flag, assignments] of Object.entries(given)) {
    const other = assignments.find(({ on }) => !named.some(({ name }) => name === on));
    if (other !== undefined) {
      throw new CommandError(
        `Expected an interface named by --interface for ${flag} but received ${printed(other.on)}`,
        2,
      );
    }
  }
  return named.map((entry) => {
    const of = (assignments: readonly Assignment[]): string[] =>
      assignments.filter(({ on }) => on === entry.name).map(({ value }) => value);
    const addresses = of(address);
    return {
      ...entry,
      ...(addresses.length === 0 ? {} : { addresses }),
      ...onlyGiven({
        mac: of(mac).at(-1),
        group: of(group).at(-1),
        destinations: of(destinations).at(-1) as InterfaceOptions['destinations'],
      }),
    };
  });
}

/** Whether a flag answers what a file's option also says, perhaps by another name. */
function isReplaced(name: string, given: GivenOptions): boolean {
  const answered = (...names: string[]): boolean => names.some((option) => option in given);
  if (['localNode', 'localNodemask', 'ownership', 'invert'].includes(name)) {
    return answered('localNode', 'localNodemask', 'ownership');
  }
  return ['totalNodes', 'buckets'].includes(name) && answered('totalNodes', 'buckets');
}

/**
 * Runs a check of options, and words its error for one who typed flags.
 * @throws CommandError with exit status 2
 */
export function checkOptions<T>(flags: Flags, check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (!(error instanceof NfqClusterError)) throw error;
    // What a file says is best found again by the file's names.
    throw new CommandError(
      flags.config === undefined ? spelledAsFlags(error.message) : error.message,
      2,
    );
  }
}

/** The options of a setup, checked; its rules are installed unless the flags say otherwise. */
export function optionsOf(flags: Flags): Options {
  const options = { rules: 'auto', ...toOptions(flags) } as unknown as Options;
  checkOptions(flags, () => resolveOptions(options));
  return options;
}

/** An error's options by the names of their flags. */
function spelledAsFlags(message: string): string {
  const flagOf = (name: string): string => SPELLED.get(name)!;
  const alternatives = (names: readonly string[]): string =>
    names.map((name) => name.replace('.', '\\.')).join('|');
  const all = [...SPELLED.keys()];
  // Where a name is also an English word, it is the option's only between these.
  return message
    .replace(/interfaces\.\d+\.(address|mac|group|destinations)(es\.\d+)?/g, '--$1')
    .replace(
      new RegExp(`(?<= for | option | or | and )(${alternatives(all)})(?= for | but | is )`, 'g'),
      flagOf,
    )
    .replace(
      new RegExp(`\\b(${alternatives(all.filter((name) => /^[a-z]+[A-Z]/.test(name)))})\\b`, 'g'),
      flagOf,
    );
}

/** The options' names → the flags that give them; of an object, those of all its members. */
const SPELLED: ReadonlyMap<string, string> = new Map(
  [...OPTION_FLAGS.map(({ gives }) => gives), 'ownership', 'marks'].map((name) => {
    const flags = OPTION_FLAGS.filter(
      ({ gives }) => gives === name || gives.startsWith(`${name}.`),
    ).map(({ long }) => long!);
    // Intl.ListFormat says the same, for 6 MB that every `run` would hold.
    return [name, flags.join(', ').replace(/, ([^,]*)$/, ' and $1')];
  }),
);

function fromFlags(flags: Flags): GivenOptions {
  const options: Record<string, unknown> = {};
  for (const flag of OPTION_FLAGS) {
    const value = (flags as Record<string, unknown>)[flag.attributeName()];
    if (value === undefined) continue;
    const [name, member] = flag.gives.split('.') as [string, string?];
    options[name] =
      member === undefined ? value : { ...(options[name] as object), [member]: value };
  }
  return options;
}

function readConfig(file: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new CommandError(`cannot read the options of ${file}: ${(error as Error).message}`, 2);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value };
  throw new CommandError(
    `cannot read the options of ${file}: expected an object, such as {"totalNodes": 2}`,
    2,
  );
}

type Given<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Without what is undefined. */
export const onlyGiven = <T extends object>(all: T): Given<T> =>
  Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as Given<T>;
