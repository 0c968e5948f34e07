import { readFileSync } from 'node:fs';
import { NfqClusterError, printed } from '../errors.js';
import type { InterfaceOptions, MarkOptions, Options } from '../option-types.js';
import { resolveOptions } from '../options.js';
import { CommandError } from './failure.js';
import type { Flags } from './flags.js';
import type { Assignment } from './values.js';

/** The options' names in open() → the flags that give them. */
const SPELLED: Readonly<Record<string, string>> = {
  totalNodes: '--cluster-total-nodes',
  hashSeed: '--cluster-hash-seed',
  localNodemask: '--cluster-local-nodemask',
  localNode: '--cluster-local-node',
  'ownership.buckets': '--own',
  ownership: '--own',
  invert: '--invert',
  buckets: '--buckets',
  interfaces: '--interface',
  queues: '--queue',
  queueCpuFanout: '--queue-cpu-fanout',
  'marks.owned': '--mark',
  'marks.multicast': '--multicast-bit',
  'marks.decided': '--decided-bit',
  'marks.direct': '--direct-bit',
  'marks.bucket': '--bucket-bits',
  marks: '--mark, --multicast-bit, --decided-bit, --direct-bit and --bucket-bits',
  conntrack: '--conntrack',
  helpers: '--without-helpers',
  offload: '--offload',
  hashMode: '--hash-mode',
  strict: '--strict',
  queueLength: '--queue-length',
  receiveBuffer: '--receive-buffer',
  gather: '--gather',
  busyPoll: '--busy-poll',
  realtime: '--realtime',
  netns: '--netns',
  name: '--name',
};

/** Options by the names that open() has for them, not yet checked. */
export type GivenOptions = Readonly<Record<string, unknown>>;

/** The file's options, and those of the flags over them. */
export function toOptions(flags: Flags): GivenOptions {
  const given = fromFlags(flags);
  const file = flags.config === undefined ? {} : readConfig(flags.config);
  const marks = merged(file['marks'], given.marks);
  const options = {
    ...Object.fromEntries(Object.entries(file).filter(([name]) => !isReplaced(name, given))),
    ...given,
    ...(given.marks === undefined ? {} : { marks }),
  };
  const interfaces = withShared(flags, options['interfaces']);
  return interfaces === undefined ? options : { ...options, interfaces };
}

/** The file's marks with those of the flags; what is no object is refused with all options. */
function merged(marks: unknown, given: MarkOptions | undefined): unknown {
  if (marks === undefined) return given;
  return typeof marks !== 'object' || marks === null || Array.isArray(marks)
    ? marks
    : { ...marks, ...given };
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
function isReplaced(name: string, given: Partial<Options>): boolean {
  const answered = (...names: (keyof Options)[]): boolean =>
    names.some((option) => option in given);
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

function spelledAsFlags(message: string): string {
  const names = Object.keys(SPELLED).join('|').replaceAll('.', '\\.');
  // Where a name is also an English word, it is the option's only behind "for".
  return message
    .replace(/interfaces\.\d+\.(address|mac|group|destinations)(es\.\d+)?/g, '--$1')
    .replace(
      new RegExp(`(?<= for | option | or )(${names})(?= for | but | is )`, 'g'),
      (name) => SPELLED[name]!,
    )
    .replace(
      /\b(totalNodes|hashSeed|localNodemask|localNode|queueLength|receiveBuffer)\b/g,
      (name) => SPELLED[name]!,
    );
}

function fromFlags(flags: Flags): Partial<Options> {
  const marks: MarkOptions = onlyGiven({
    owned: flags.mark,
    multicast: flags.multicastBit,
    decided: flags.decidedBit,
    direct: flags.directBit,
    bucket: flags.bucketBits,
  });
  return onlyGiven({
    policy: flags.policy,
    hashMode: flags.hashMode,
    strict: flags.strict,
    totalNodes: flags.clusterTotalNodes,
    buckets: flags.buckets,
    hashSeed: flags.clusterHashSeed,
    localNode: flags.clusterLocalNode,
    localNodemask: flags.clusterLocalNodemask,
    invert: flags.invert,
    ownership: flags.own === undefined ? undefined : { buckets: flags.own },
    interfaces: flags.interface,
    queues: flags.queue,
    queueCpuFanout: flags.queueCpuFanout,
    action: flags.action,
    marks: Object.keys(marks).length === 0 ? undefined : marks,
    conntrack: flags.conntrack,
    helpers: flags.withoutHelpers === true ? false : undefined,
    offload: flags.offload,
    netns: flags.netns,
    name: flags.name,
    queueLength: flags.queueLength,
    receiveBuffer: flags.receiveBuffer,
    gather: flags.gather,
    busyPoll: flags.busyPoll,
    realtime: flags.realtime,
    rules: flags.rules,
    reinject: flags.reinject,
    control: flags.control,
  });
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
