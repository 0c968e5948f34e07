/* Hashing in bulk, and the instructions that a packet costs. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Hasher } from '../src/index.js';
import { program } from './support/process.js';
import { alternate, type Report, type Settings } from './support/results.js';

const ALL = 2 ** 32;
/** The condition of counting them. */
export const COUNTED = 'all IPv4 addresses counted';
export const COUNTERS = [2, 3, 32, 256, 1023].map((buckets) => ({
  name: `${buckets} buckets`,
  buckets,
}));

export async function run(report: Report, { rounds, quick }: Settings): Promise<void> {
  await instructions(report);
  await counting(report, rounds, quick ? ALL / 16 : ALL);
  await bulk(report, rounds);
}

async function counting(report: Report, rounds: number, addresses: number): Promise<void> {
  await alternate(COUNTERS, rounds, ({ name, buckets }, round) => {
    report.progress(`all IPv4 addresses on ${name}: round ${round + 1}`);
    const hasher = new Hasher({ buckets, hashSeed: 0xdeadbeef });
    const seconds = (processorSeconds(() => hasher.countIpv4(0, addresses)) * ALL) / addresses;
    report.add(
      {
        bench: 'hash',
        condition: `${COUNTED}${addresses < ALL ? ' (a sixteenth, times 16)' : ''}`,
        contender: name,
        metric: 'processor time',
        unit: 's',
        better: 'lower',
      },
      seconds,
    );
  });
}

const BLOCK = 1 << 16;
const BLOCKS = 4096;
/** The condition of hashing them in bulk, from an array into another. */
export const HASHED = `2³² addresses hashed in bulk (a sixteenth, in blocks of ${BLOCK}, times 16)`;
export const HASHED_BY = [4, 6].flatMap((family) =>
  COUNTERS.map(({ name, buckets }) => ({ name: `IPv${family}, ${name}`, family, buckets })),
);

async function bulk(report: Report, rounds: number): Promise<void> {
  const random = new Uint8Array(16 * BLOCK).map(() => 256 * Math.random());
  const numbers = new Uint32Array(random.buffer, 0, BLOCK);
  const out = new Uint16Array(BLOCK);
  await alternate(HASHED_BY, rounds, ({ name, family, buckets }, round) => {
    report.progress(`addresses in bulk, ${name}: round ${round + 1}`);
    const hasher = new Hasher({ buckets, hashSeed: 0xdeadbeef });
    const block = () =>
      family === 4 ? hasher.bucketsIpv4(numbers, out) : hasher.bucketsIpv6(random, out);
    const seconds = processorSeconds(() => {
      for (let left = BLOCKS; left > 0; left -= 1) block();
    });
    report.add(
      {
        bench: 'hash',
        condition: HASHED,
        contender: name,
        metric: 'processor time',
        unit: 's',
        better: 'lower',
      },
      (seconds * ALL) / (BLOCKS * BLOCK),
    );
  });
}

function processorSeconds(work: () => unknown): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

const BATCHES = 1000;
const BATCH = 64;
/** The condition of counting instructions. */
export const INSTRUCTIONS = `a batch of ${BATCH} packets, between the two system calls`;

const MILLION = 1_000_000;
const path = (
  name: string,
  buckets: number,
  owned: number,
  sources: number,
  way: 'stateless' | 'followed' = 'stateless',
) => ({
  name: `nfq-cluster: ${name}`,
  args: [way, BATCHES, buckets, owned, sources].map(String),
});
/** All packets are accepted, so that the count is of the same verdicts: few and many buckets, and sources. */
export const GROWING = [
  path('all owned, 1 bucket, 1 source', 1, 1, 1),
  path('all owned, 1,023 buckets, 1 source', 1023, 1023, 1),
  path('all owned, 1,023 buckets, a million sources', 1023, 1023, MILLION),
];
const HALF = 'every second bucket owned';
const PATHS = [
  path(HALF, 2, 1, MILLION),
  // Where the queue's messages carry no connection, most packets are marked as needing none.
  path(`${HALF}, connections followed`, 2, 1, MILLION, 'followed'),
  ...GROWING,
];

/** By callgrind, which counts the same on every run of the same build. */
async function instructions(report: Report): Promise<void> {
  for (const { name, args } of PATHS) {
    report.progress(`a packet's instructions: ${name}`);
    const { stderr } = await promisify(execFile)('valgrind', [
      '--tool=callgrind',
      '--callgrind-out-file=/dev/null',
      '--toggle-collect=decide_batch',
      program('packet_path'),
      ...args,
    ]);
    report.add(
      {
        bench: 'hash',
        condition: INSTRUCTIONS,
        contender: name,
        metric: 'instructions per packet',
        unit: '',
        better: 'lower',
        exact: true,
      },
      Number(/Collected : (\d+)/.exec(stderr)![1]) / BATCHES / BATCH,
    );
  }
}
