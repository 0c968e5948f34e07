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
  const addresses = quick ? ALL / 16 : ALL;
  await alternate(COUNTERS, rounds, ({ name, buckets }, round) => {
    report.progress(`all IPv4 addresses on ${name}: round ${round + 1}`);
    const hasher = new Hasher({ buckets, hashSeed: 0xdeadbeef });
    const before = process.cpuUsage();
    hasher.countIpv4(0, addresses);
    const { user, system } = process.cpuUsage(before);
    const seconds = (((user + system) / 1e6) * ALL) / addresses;
    report.add(
      {
        bench: 'hash',
        condition: `${COUNTED}${quick ? ' (a sixteenth, times 16)' : ''}`,
        contender: name,
        metric: 'processor time',
        unit: 's',
        better: 'lower',
      },
      seconds,
    );
    return Promise.resolve();
  });
}

const BATCHES = 1000;
const BATCH = 64;
/** The condition of counting instructions. */
export const INSTRUCTIONS = `a batch of ${BATCH} packets, between the two system calls`;

const MILLION = 1_000_000;
const path = (name: string, buckets: number, owned: number, sources: number) => ({
  name: `nfq-cluster: ${name}`,
  share: [buckets, owned, sources],
});
/** All packets are accepted, so that the count is of the same verdicts: few and many buckets, and sources. */
export const GROWING = [
  path('all owned, 1 bucket, 1 source', 1, 1, 1),
  path('all owned, 1,023 buckets, 1 source', 1023, 1023, 1),
  path('all owned, 1,023 buckets, a million sources', 1023, 1023, MILLION),
];
const PATHS = [path('every second bucket owned', 2, 1, MILLION), ...GROWING];

/** By callgrind, which counts the same on every run of the same build. */
async function instructions(report: Report): Promise<void> {
  for (const { name, share } of PATHS) {
    report.progress(`a packet's instructions: ${name}`);
    const { stderr } = await promisify(execFile)('valgrind', [
      '--tool=callgrind',
      '--callgrind-out-file=/dev/null',
      '--toggle-collect=decide_batch',
      program('packet_path'),
      ...[BATCHES, ...share].map(String),
    ]);
    report.add(
      {
        bench: 'hash',
        condition: INSTRUCTIONS,
        contender: name,
        metric: 'instructions per packet',
        unit: '',
        better: 'lower',
      },
      Number(/Collected : (\d+)/.exec(stderr)![1]) / BATCHES / BATCH,
    );
  }
}
