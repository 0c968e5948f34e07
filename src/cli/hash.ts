import type { Readable } from 'node:stream';
import type { Command } from 'commander';
import { Hasher, type HasherOptions } from '../hash.js';
import { printed } from '../errors.js';
import { CommandError, print } from './failure.js';
import { withHashing, type Flags } from './flags.js';
import { checkOptions, toOptions, type GivenOptions } from './options.js';
import { bucketOfLine, expectedOf } from './packet.js';

/** No address is longer, and what has no line ends must not fill the memory. */
const LONGEST_LINE = 1000;

export function addHash(top: Command): void {
  withHashing(top.command('hash'))
    .description(
      'read addresses, one per line (for policy clusterip SOURCE,PROTOCOL,SPORT,DPORT); print each with its bucket and its node',
    )
    .action(hash);
}

/**
 * `nfq-cluster hash`: addresses (for policy `clusterip`, packets) from standard input, each with its bucket
 * and its node on standard output.
 */
async function hash(flags: Flags): Promise<void> {
  const { hasher, classic } = hasherOf(flags, toOptions(flags));
  await hashLines(process.stdin, hasher, classic);
}

/** The hasher that the options ask for, and whether its buckets are nodes. */
export function hasherOf(
  flags: Flags,
  options: GivenOptions,
): { hasher: Hasher; classic: boolean } {
  const names = ['policy', 'hashMode', 'hashSeed', 'totalNodes', 'buckets'];
  const hashing = Object.fromEntries(
    names.flatMap((name) => (name in options ? [[name, options[name]]] : [])),
  );
  const hasher = checkOptions(flags, () => new Hasher(hashing as unknown as HasherOptions));
  return { hasher, classic: !('buckets' in options) };
}

async function hashLines(input: Readable, hasher: Hasher, classic: boolean): Promise<void> {
  let rest = '';
  let line = 0;
  const flush = async (lines: readonly string[]): Promise<void> => {
    let rows = '';
    for (const text of lines) {
      line += 1;
      const packet = text.endsWith('\r') ? text.slice(0, -1) : text;
      const bucket = bucketOfLine(hasher, packet);
      if (bucket === undefined) {
        await print(rows);
        throw new CommandError(
          `line ${line}: expected ${expectedOf(hasher)} but received ${printed(packet)}`,
        );
      }
      rows += classic ? `${packet}\t${bucket}\t${bucket + 1}\n` : `${packet}\t${bucket}\n`;
    }
    if (rows !== '') await print(rows);
  };
  input.setEncoding('utf8');
  for await (const chunk of input) {
    const lines = (rest + (chunk as string)).split('\n');
    rest = lines.pop()!;
    await flush(lines);
    if (rest.length > LONGEST_LINE) break;
  }
  if (rest !== '') await flush([rest]);
}
