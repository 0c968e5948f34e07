/* Calls from JavaScript, by the package benchmark: what one costs. */
import Benchmark from 'benchmark';
import { Hasher, open, type Options } from '../src/index.js';
import { alternate, type Report, type Settings } from './support/results.js';
import { within } from './support/traffic.js';

/** The conditions of calls, and of an engine that is opened. */
export const CALLED = 'per address';
export const OPENED = 'an engine without rules of its own';
export const OPENED_WITH_RULES = "an engine with rules: 'auto'";

const OPENINGS: readonly [condition: string, more: Partial<Options>][] = [
  [OPENED, {}],
  [OPENED_WITH_RULES, { rules: 'auto' }],
];

const BULK = 1 << 16;
const hasher = new Hasher({ totalNodes: 3, hashSeed: 0xdeadbeef });

let next = 0x0a00_0000;
const texts = Array.from({ length: 256 }, (_, index) => `192.0.2.${index}`);
const texts6 = Array.from({ length: 256 }, (_, index) => `2001:db8::${index.toString(16)}`);
const bytes = Uint8Array.of(192, 0, 2, 1);
const bulk = Uint32Array.from({ length: BULK }, (_, index) => 0x0a00_0000 + index);
const bulk6 = new Uint8Array(16 * BULK).map((_, index) => index);
const out = new Uint16Array(BULK);

/** What is called, and how many addresses one call takes. */
const CALLS: readonly [name: string, addresses: number, call: () => unknown][] = [
  ['node() of a number', 1, () => hasher.node((next = (next + 1) >>> 0))],
  ['node() of an IPv4 text', 1, () => hasher.node(texts[(next = (next + 1) & 255)]!)],
  ['node() of an IPv6 text', 1, () => hasher.node(texts6[(next = (next + 1) & 255)]!)],
  ['node() of 4 bytes', 1, () => hasher.node(bytes)],
  ['bucketsIpv4()', BULK, () => hasher.bucketsIpv4(bulk, out)],
  ['bucketsIpv6()', BULK, () => hasher.bucketsIpv6(bulk6, out)],
];

export async function run(report: Report, { rounds, seconds }: Settings): Promise<void> {
  await alternate(CALLS, rounds, async ([name, addresses, call]) => {
    const share = processorShare();
    // Not asynchronous: between cycles it would be idle, and the share is to be of its work alone.
    const { stats } = await finished(new Benchmark(name, call, { maxTime: seconds / 3 }), false);
    const of = { bench: 'calls', contender: name, unit: 'ns', better: 'lower' } as const;
    const ns = (stats.mean * 1e9) / addresses;
    report.add({ ...of, condition: CALLED, metric: 'time' }, ns);
    report.add({ ...of, condition: CALLED, metric: 'processor time' }, ns * share());
  });
  await alternate(OPENINGS, rounds, ([condition, more]) =>
    opening(report, condition, more, seconds / 3),
  );
}

/** Says which share of the time since then this process had a processor; others may be at work. */
function processorShare(): () => number {
  const [cpu, started] = [process.cpuUsage(), performance.now()];
  return () => {
    const { user, system } = process.cpuUsage(cpu);
    return Math.min(1, (user + system) / 1000 / (performance.now() - started));
  };
}

/** An engine opened and closed again; each alone. */
async function opening(
  report: Report,
  condition: string,
  more: Partial<Options>,
  maxTime: number,
): Promise<void> {
  await within(report, `open(), ${condition}`, async ({ node }, round) => {
    const spent: number[] = [];
    const once = async (deferred: { resolve(): void }): Promise<void> => {
      const started = performance.now();
      const engine = await open({
        ...{ interfaces: ['eth0'], totalNodes: 2, localNode: 1, hashSeed: 1 },
        netns: node.path,
        ...more,
      });
      spent.push(performance.now() - started);
      await engine.close();
      deferred.resolve();
    };
    await finished(new Benchmark('open()', { defer: true, maxTime, fn: once }));
    spent.sort((a, b) => a - b);
    round.add(
      {
        bench: 'calls',
        condition,
        contender: 'open()',
        metric: 'time',
        unit: 'ms',
        better: 'lower',
      },
      spent[spent.length >> 1]!,
    );
  });
}

const finished = (benchmark: Benchmark, async = true): Promise<Benchmark> =>
  new Promise((resolve, reject) => {
    benchmark.on('complete', () => resolve(benchmark));
    benchmark.on('error', () => reject(benchmark.error));
    benchmark.run({ async });
  });
