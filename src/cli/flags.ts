import { InvalidArgumentError, Option, type Command } from 'commander';
import { range } from '../options.js';

/** An unsigned integer as iptables reads it: decimal, 0x for hexadecimal, a leading 0 for octal. */
export function integer(text: string): number {
  if (/^0[0-7]+$/.test(text)) return parseInt(text, 8);
  if (/^(0x[0-9a-f]+|\d+)$/i.test(text)) return Number(text);
  throw new InvalidArgumentError('Expected a whole number, such as 2, 0x2 or 02.');
}

/** Numbers and ranges: `1,4-6`. */
export function integers(text: string): number[] {
  return text.split(',').flatMap((part) => {
    const [first, last = first, ...rest] = part.split('-').map(integer);
    if (rest.length > 0 || last! < first! || last! - first! > 0xffff) {
      throw new InvalidArgumentError('Expected numbers and ranges, such as 1,4-6.');
    }
    return range(last! - first! + 1).map((offset) => first! + offset);
  });
}

/** `VALUE` or `VALUE/MASK`; a value alone is its own mask. */
export function maskedMark(text: string): { value: number; mask: number } {
  const [value, mask = value, ...rest] = text.split('/').map(integer);
  if (rest.length > 0) throw new InvalidArgumentError('Expected VALUE or VALUE/MASK.');
  return { value: value!, mask: mask! };
}

/** `NAME` or `NAME:KEY`, gathered. */
export function interfaces(
  text: string,
  before: { name: string; key?: string }[] = [],
): { name: string; key?: string }[] {
  const colon = text.lastIndexOf(':');
  const isKey = colon > 0 && ['source', 'destination'].includes(text.slice(colon + 1));
  const added = isKey ? { name: text.slice(0, colon), key: text.slice(colon + 1) } : { name: text };
  return [...before, added];
}

/** A time in milliseconds. */
export function milliseconds(text: string): number {
  const number = Number(text);
  if (text.trim() === '' || !(number > 0)) {
    throw new InvalidArgumentError('Expected a positive number of milliseconds.');
  }
  return number;
}

/** The options that say how an address becomes a bucket. */
export function addHashingOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--policy <policy>', 'how keys are hashed').choices(['jhash', 'xt_cluster']),
    )
    .addOption(
      new Option('--cluster-total-nodes <number>', 'number of nodes, 1 to 32').argParser(integer),
    )
    .addOption(
      new Option('--buckets <number>', 'number of buckets instead, 1 to 1023').argParser(integer),
    )
    .addOption(
      new Option('--cluster-hash-seed <seed>', 'the same on every node').argParser(integer),
    );
}

/** The options that say which share is this node's. */
export function addShareOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--cluster-local-node <numbers>',
        "this node's number, from 1; or several: 1,3",
      ).argParser(integers),
    )
    .addOption(
      new Option('--cluster-local-nodemask <mask>', 'the same as a mask: bit n-1 is node n')
        .argParser(integer)
        .conflicts('clusterLocalNode'),
    )
    .addOption(
      new Option('--own <buckets>', 'buckets to own, from 0: 0-340,512')
        .argParser(integers)
        .conflicts(['clusterLocalNode', 'clusterLocalNodemask']),
    )
    .addOption(
      new Option('--invert', 'own what the local nodes do not; as "!" before their option'),
    );
}

export interface HashingFlags {
  policy?: string;
  clusterTotalNodes?: number;
  buckets?: number;
  clusterHashSeed?: number;
}

export interface ShareFlags {
  clusterLocalNode?: number[];
  clusterLocalNodemask?: number;
  own?: number[];
  invert?: boolean;
}

/** Flags under the names of the options of `open`; what was not given is left out. */
export function hashingOptions(flags: HashingFlags): Record<string, unknown> {
  return given({
    policy: flags.policy,
    hashSeed: flags.clusterHashSeed,
    totalNodes: flags.clusterTotalNodes,
    buckets: flags.buckets,
  });
}

export function shareOptions(flags: ShareFlags): Record<string, unknown> {
  return given({
    localNode: flags.clusterLocalNode,
    localNodemask: flags.clusterLocalNodemask,
    ownership: flags.own === undefined ? undefined : { buckets: flags.own },
    invert: flags.invert,
  });
}

export function given(options: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

/** The man page's `! --cluster-local-node N` as `--invert --cluster-local-node N`. */
export function withoutBangs(argv: readonly string[]): string[] {
  return argv.map((argument, at) =>
    argument === '!' && /^--cluster-local-node(mask)?(=|$)/.test(argv[at + 1] ?? '')
      ? '--invert'
      : argument,
  );
}
