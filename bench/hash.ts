/* Hashing in bulk, and the instructions that a packet costs. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Hasher } from '../src/index.js';
import { program } from './support/process.js';
import { alternate, type Report, type Settings } from './support/results.js';

const BUCKETS = [2, 3, 32, 256, 1023] as const;
const ALL = 2 ** 32;

export async function run(report: Report, { rounds, quick }: Settings): Promise<void> {
  await instructions(report);
  const addresses = quick ? ALL / 16 : ALL;
  await alternate(BUCKETS, rounds, (buckets, round) => {
    report.progress(`all IPv4 addresses on ${buckets} buckets: round ${round + 1}`);
    const hasher = new Hasher({ buckets, hashSeed: 0xdeadbeef });
    const before = process.cpuUsage();
    hasher.countIpv4(0, addresses);
    const { user, system } = process.cpuUsage(before);
    const seconds = (((user + system) / 1e6) * ALL) / addresses;
    report.add(
      {
        bench: 'hash',
        condition: `all IPv4 addresses counted${quick ? ' (a sixteenth, times 16)' : ''}`,
        contender: `${buckets} buckets`,
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

/** By callgrind, which counts the same on every run of the same build. */
async function instructions(report: Report): Promise<void> {
  report.progress("counting a packet's instructions");
  const { stderr } = await promisify(execFile)('valgrind', [
    '--tool=callgrind',
    '--callgrind-out-file=/dev/null',
    '--toggle-collect=decide_batch',
    program('packet_path'),
    String(BATCHES),
  ]);
  report.add(
    {
      bench: 'hash',
      condition: `a batch of ${BATCH} packets, between the two system calls`,
      contender: 'nfq-cluster',
      metric: 'instructions per packet',
      unit: '',
      better: 'lower',
    },
    Number(/Collected : (\d+)/.exec(stderr)![1]) / BATCHES / BATCH,
  );
}
