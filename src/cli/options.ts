import { readFileSync } from 'node:fs';
import { Option, type Command } from 'commander';
import { NfqClusterError } from '../errors.js';
import type { InterfaceOptions, MarkOptions, MaskedMark, Options } from '../options.js';
import { CommandError } from './failure.js';
import { interfaceKey, maskedMark, nodes, numberList, numberRange, u32 } from './values.js';

/** What commander makes of the flags. */
export interface Flags {
  config?: string;
  policy?: Options['policy'];
  clusterTotalNodes?: number;
  buckets?: number;
  clusterHashSeed?: number;
  clusterLocalNode?: number | number[];
  clusterLocalNodemask?: number;
  invert?: true;
  own?: number[];
  interface?: InterfaceOptions[];
  queue?: number[];
  action?: Options['action'];
  mark?: MaskedMark;
  multicastBit?: number;
  decidedBit?: number;
  netns?: string;
  name?: string;
  queueLength?: number;
  receiveBuffer?: number;
  rules?: Options['rules'];
  reinject?: Options['reinject'];
}

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
  'marks.owned': '--mark',
  'marks.multicast': '--multicast-bit',
  'marks.decided': '--decided-bit',
  marks: '--mark, --multicast-bit and --decided-bit',
  queueLength: '--queue-length',
  receiveBuffer: '--receive-buffer',
  netns: '--netns',
  name: '--name',
};

/** The flags that say how an address becomes a bucket. */
export const withHashing = (command: Command): Command =>
  command
    .option(
      '--cluster-total-nodes <count>',
      'nodes in the cluster, 1 to 32; node n owns bucket n - 1',
      u32,
    )
    .option('--buckets <count>', 'instead: fine-grained buckets, 1 to 1023', u32)
    .option('--cluster-hash-seed <seed>', 'the same 32 bits on every node (mandatory)', u32)
    .addOption(
      new Option('--policy <policy>', 'how an address is hashed (default: jhash)').choices([
        'jhash',
        'xt_cluster',
      ]),
    )
    .option('--config <file>', "JSON with the names of open()'s options; a flag overrides it");

/** The flags that say what this node owns. */
export const withShare = (command: Command): Command =>
  command
    .option('--cluster-local-node <nodes>', "this node's number from 1, or several: 1,3", nodes)
    .option('--cluster-local-nodemask <mask>', 'instead: bit n - 1 stands for node n', u32)
    .option('--invert', 'own what these nodes do not; a lone ! before either flag says the same')
    .option('--own <buckets>', 'instead: bucket numbers from 0, such as 0-511,600', numberList);

/** The flags of `run` alone. */
export const withQueue = (command: Command): Command =>
  command
    .option(
      '-i, --interface <name[:key]>',
      'decide what enters here, by its source or :destination; may be repeated',
      interfaceKey,
    )
    .option(
      '-q, --queue <numbers>',
      'queue number, or range such as 0-3 with a thread for each (default: 0)',
      numberRange,
    )
    .addOption(
      new Option(
        '--action <action>',
        'drop foreign packets, or mark owned ones (default: drop)',
      ).choices(['drop', 'mark']),
    )
    .option('--mark <value/mask>', 'mark of an owned packet (default: 0xffff/0xffff)', maskedMark)
    .option(
      '--multicast-bit <bit>',
      'mark bit that notes a multicast frame (default: 0x40000000)',
      u32,
    )
    .option(
      '--decided-bit <bit>',
      'mark bit that notes a decided packet (default: 0x80000000)',
      u32,
    )
    .addOption(
      new Option('--rules <way>', 'who writes the rules; none: you do (default: auto)').choices([
        'auto',
        'nft',
        'xtables',
        'none',
      ]),
    )
    .addOption(
      new Option(
        '--reinject <way>',
        'how packets return to your own rules, with --rules none (default: accept)',
      ).choices(['accept', 'repeat']),
    )
    .option('--name <name>', 'names the rules, nfq-cluster-NAME (default: q and the queue number)')
    .option('--netns <name>', 'network namespace, by its name or path')
    .option('--queue-length <packets>', 'packets the kernel holds per queue (default: 16384)', u32)
    .option('--receive-buffer <bytes>', 'socket buffer per queue (default: 33554432)', u32);

/** Options by the names that open() has for them, not yet checked. */
export type GivenOptions = Readonly<Record<string, unknown>>;

/** The file's options, and those of the flags over them. */
export function toOptions(flags: Flags): GivenOptions {
  const given = fromFlags(flags);
  const file = flags.config === undefined ? {} : readConfig(flags.config);
  const marks = { ...(file['marks'] as object | undefined), ...given.marks };
  return {
    ...Object.fromEntries(Object.entries(file).filter(([name]) => !isReplaced(name, given))),
    ...given,
    ...(given.marks === undefined ? {} : { marks }),
  };
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

function spelledAsFlags(message: string): string {
  const names = Object.keys(SPELLED).join('|').replaceAll('.', '\\.');
  // Where a name is also an English word, it is the option's only behind "for".
  return message
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
  const marks: MarkOptions = given({
    owned: flags.mark,
    multicast: flags.multicastBit,
    decided: flags.decidedBit,
  });
  return given({
    policy: flags.policy,
    totalNodes: flags.clusterTotalNodes,
    buckets: flags.buckets,
    hashSeed: flags.clusterHashSeed,
    localNode: flags.clusterLocalNode,
    localNodemask: flags.clusterLocalNodemask,
    invert: flags.invert,
    ownership: flags.own === undefined ? undefined : { buckets: flags.own },
    interfaces: flags.interface,
    queues: flags.queue,
    action: flags.action,
    marks: Object.keys(marks).length === 0 ? undefined : marks,
    netns: flags.netns,
    name: flags.name,
    queueLength: flags.queueLength,
    receiveBuffer: flags.receiveBuffer,
    rules: flags.rules,
    reinject: flags.reinject,
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

const given = <T extends object>(all: T): Given<T> =>
  Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as Given<T>;
