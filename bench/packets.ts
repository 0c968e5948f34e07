/* Packets through a node: how many are decided and how many lost, at what price. */
import { readFileSync } from 'node:fs';
import { Hasher } from '../src/index.js';
import type { Namespace } from '../src/lab/namespaces.js';
import type { Wire } from '../test/support/wire.js';
import {
  allOwned,
  BACKLOG,
  BASE,
  BATCHES,
  BY_BOTH,
  BY_SOURCES,
  CONDITION,
  CONDITIONS,
  FIXED_RATE,
  FLOOD,
  FLOOD_BY_BOTH,
  STEERED,
  title,
  type Condition,
} from './support/conditions.js';
import {
  contenders,
  engine,
  exampleLoop,
  fannedOut,
  kernelMatch,
  noRule,
  offloaded,
  stateless,
  statelessFannedOut,
  statelessOffloaded,
  statelessLoop,
  twoQueues,
  withoutHelpers,
  type Contender,
  type Running,
  type Task,
} from './support/contenders.js';
import { PROCESSOR, processorTime, residentMemory } from './support/process.js';
import {
  alternate,
  find,
  median,
  type Report,
  type Result,
  type Settings,
} from './support/results.js';
import {
  connections,
  counts,
  drained,
  establish,
  evicted,
  passed,
  send,
  settled,
  SOURCES,
  unanswered,
  within,
  type Load,
} from './support/traffic.js';

const TASK: Task = { totalNodes: 2, localNodes: [1] };

/** What is to be offered in that condition. */
export const BELOW_THE_MATCH = { name: `0.9 of ${kernelMatch.name}` };

/** Where packets come singly, what larger batches save. */
export const GATHERING = [100, 200, 500].map((us) =>
  engine(`gather ${us} µs`, ['--gather', `${us}`]),
);

export const BY_BUCKETS = [1, 32, 1023].map((count) =>
  engine(count === 1 ? '1 bucket' : `${count} buckets`, [], 1, () => [
    ...['--buckets', String(count), '--own', count === 1 ? '0' : `0-${count - 1}`],
  ]),
);

export async function run(report: Report, settings: Settings): Promise<void> {
  const all = contenders(report);
  for (const condition of settings.quick ? CONDITIONS.slice(0, 3) : CONDITIONS) {
    if (condition.xdp === true && !(await canFlood(report))) continue;
    const at = condition.rate === FIXED_RATE ? [...all, ...GATHERING] : all;
    await alternate(at, settings.rounds, (contender, round) => {
      report.progress(`${title(condition)}: round ${round + 1}, ${contender.name}`);
      return throughput(report, contender, { ...condition, seconds: settings.seconds });
    });
  }
  await inBatches(report, settings);
  await byBoth(report, settings);
  await belowTheKernel(report, settings);
  await established(report, settings);
  if (!settings.quick) await scale(report, settings);
  await alternate(all.filter(isQueued), settings.rounds, (contender, round) => {
    report.progress(`held backlog: round ${round + 1}, ${contender.name}`);
    return backlog(report, contender);
  });
}

const isQueued = ({ name }: Contender): boolean => !/^(no rule|kernel)|offload/.test(name);

/** Whether this kernel can; if not, notes why. */
async function canFlood(report: Report): Promise<boolean> {
  try {
    await within(report, title(FLOOD), async ({ sender }) => {
      await send(sender, { ...FLOOD, seconds: 0.1 });
    });
    return true;
  } catch (error) {
    report.note(`No flood here: ${(error as Error).message}`);
    return false;
  }
}

/** What became of a load. */
interface Outcome {
  sent: number;
  /** Of a second, while the generator was at work. */
  offered: number;
  decided: number;
  /** Packets that got no verdict, wherever they were lost. */
  lost: number;
  /** Until the last verdict, the generator's start included. */
  seconds: number;
  /** Nanoseconds of processor time of the program that decides. */
  spent: number;
}

async function offer({ sender, node }: Wire, running: Running, load: Load): Promise<Outcome> {
  const before = counts(node, load.family);
  const spentBefore = processorTimeOf(running);
  const started = performance.now();
  const generated = await send(sender, load);
  await drained(node);
  const seconds = (performance.now() - started) / 1000;
  const spent = processorTimeOf(running) - spentBefore;
  const { sent } = generated;
  const lost = unanswered(sent, before, await settled(node, load.family, before, sent));
  return { sent, offered: sent / generated.seconds, decided: sent - lost, lost, seconds, spent };
}

/** One round: a load, what became of it, and what it cost the program that decides. */
async function throughput(
  report: Report,
  contender: Contender,
  load: Load,
  condition = title(load),
  task = TASK,
): Promise<void> {
  const what = `${contender.name}, ${condition}`;
  await within(
    report,
    what,
    async (wire, round) => {
      const { node } = wire;
      const running = await contender.start(node, task);
      await establish(wire, load);
      if (task.localNodes.length === task.totalNodes && load.sources === BASE.sources)
        noteUnestablished(round, node, contender, condition);
      const passedBefore = await passed(node);
      const { sent, offered, decided, lost, seconds, spent } = await offer(wire, running, load);
      const add = adder(round, condition, contender);
      add('offered', '/s', 'higher', offered);
      add('handled', '/s', 'higher', decided / seconds);
      add('lost', '%', 'lower', (100 * lost) / sent);
      if (running.child !== undefined) {
        add('time per packet', 'µs', 'lower', spent / decided / 1000);
        add('memory', 'MB', 'lower', memoryOf(running));
      }
      if (contender.name !== noRule.name && load.family === 4) {
        const found = ((await passed(node)) - passedBefore) / decided;
        verify(round, what, task, load, found);
      }
      noteEvicted(round, node, condition);
      await running.stop();
    },
    load,
  );
}

/** Notes it where connections are tracked, and not all of them have seen an answer. */
function noteUnestablished(
  report: Report,
  node: Namespace,
  { name }: Contender,
  condition: string,
): void {
  if (/^no rule$|stateless/.test(name)) return;
  const { known, answered } = connections(node) ?? {};
  const { sources } = BASE;
  if (answered === undefined)
    report.note(
      `${condition}: whether they are cannot be seen, as /proc has no list of connections.`,
    );
  else if (answered < sources)
    report.note(
      `${name}, ${condition}: ${answered} of ${sources} connections established, ${known} known.`,
    );
}

/** Notes it where the kernel's table is too small for a condition's connections, which changes what they cost. */
function noteEvicted(report: Report, node: Namespace, condition: string): void {
  if (evicted(node) === 0) return;
  const most = readFileSync('/proc/sys/net/netfilter/nf_conntrack_max', 'utf8').trim();
  report.note(
    `${condition}: connections gave way to others, as nf_conntrack_max is ${most}; docs/performance.md says how to raise it.`,
  );
}

const adder =
  (report: Report, condition: string, { name }: Pick<Contender, 'name'>) =>
  (metric: string, unit: string, better: Result['better'], value: number): void =>
    report.add({ bench: 'packets', condition, contender: name, metric, unit, better }, value);

/** Notes it where the share of packets let through is not that of the sources that are owned. */
function verify(
  report: Report,
  of: string,
  { totalNodes, localNodes }: Task,
  { sources }: Load,
  found: number,
): void {
  const hasher = new Hasher({ hashSeed: 0xdeadbeef, totalNodes });
  const first = SOURCES[4].split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0);
  const addresses = Uint32Array.from({ length: sources }, (_, index) => first + index);
  const owned =
    hasher.bucketsIpv4(addresses).filter((bucket) => localNodes.includes(bucket + 1)).length /
    sources;
  if (Math.abs(found - owned) < 0.03) return;
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
  report.note(`${of}: passed ${percent(found)}, owned were ${percent(owned)}.`);
}

const processorTimeOf = ({ child }: Running): number =>
  child === undefined ? 0 : processorTime(child);

const memoryOf = ({ child }: Running): number => residentMemory(child!) / 1e6;

/**
 * What comes from a network card comes in batches; then a thread wakes less often. Least often where it runs on the
 * processor that receives, as it has a whole batch at a time there.
 */
async function inBatches(report: Report, { rounds, seconds }: Settings): Promise<void> {
  if (!(await canFlood(report))) return;
  const all = [exampleLoop, statelessLoop, engine(''), withoutHelpers, stateless];
  const places: [condition: string, load: Condition, processors: string][] = [
    [CONDITION.batches, BATCHES, PROCESSOR.contender],
    [CONDITION.whereReceived, BATCHES, PROCESSOR.generator],
    [CONDITION.steered, STEERED, PROCESSOR.contender],
  ];
  for (const [condition, load, processors] of places) {
    await alternate(all, rounds, (contender, round) => {
      report.progress(`${condition}: round ${round + 1}, ${contender.name}`);
      return throughput(report, contender, { ...load, seconds }, condition, {
        ...TASK,
        processors,
      });
    });
  }
}

/** As from a network card that spreads packets over both processors, which contenders may use both. */
async function byBoth(report: Report, { rounds, seconds }: Settings): Promise<void> {
  if (!(await canFlood(report))) return;
  const task = { ...TASK, processors: `${PROCESSOR.generator},${PROCESSOR.contender}` };
  const all = [
    noRule,
    kernelMatch,
    exampleLoop,
    statelessLoop,
    engine(''),
    twoQueues,
    fannedOut,
    statelessFannedOut,
  ];
  for (const load of [BY_BOTH, FLOOD_BY_BOTH]) {
    await alternate(all, rounds, (contender, round) => {
      report.progress(`${title(load)}: round ${round + 1}, ${contender.name}`);
      return throughput(report, contender, { ...load, seconds }, title(load), task);
    });
  }
}

/**
 * The engine at 0.9 of what the kernel's own match carried in this run. Made by XDP, if it can: beside the work of
 * the queue, one processor has not the time for a packet socket.
 */
async function belowTheKernel(report: Report, { rounds, seconds }: Settings): Promise<void> {
  const carried = { condition: CONDITION.base, contender: kernelMatch.name, metric: 'offered' };
  const rate = Math.round(
    0.9 * median(find(report.results, { bench: 'packets', ...carried })!.values),
  );
  const add = adder(report, CONDITION.belowTheMatch, BELOW_THE_MATCH);
  for (let round = 0; round < rounds; round += 1) add('offered', '/s', 'higher', rate);
  const xdp = await canFlood(report);
  await alternate([engine(''), withoutHelpers, stateless], rounds, (contender) => {
    report.progress(`at 0.9 of the kernel's rate: ${contender.name}`);
    return throughput(report, contender, { ...BASE, rate, xdp, seconds }, CONDITION.belowTheMatch);
  });
}

/** Connections that are known to a node which owns all of them. */
async function established(report: Report, { rounds, seconds }: Settings): Promise<void> {
  const task = { ...TASK, localNodes: [1, 2] };
  const all = [
    noRule,
    kernelMatch,
    engine(''),
    offloaded('flows'),
    offloaded('sources'),
    statelessOffloaded,
  ];
  const loads: [condition: string, load: Condition][] = [
    [CONDITION.established, BASE],
    ...((await canFlood(report))
      ? [[CONDITION.establishedFlood, FLOOD] as [string, Condition]]
      : []),
  ];
  for (const [condition, load] of loads) {
    await alternate(all, rounds, (contender, round) => {
      report.progress(`${condition}: round ${round + 1}, ${contender.name}`);
      return throughput(report, contender, { ...load, seconds }, condition, task);
    });
  }
}

/** Whether the cost grows with the buckets or the sources, and the memory with the packets. */
async function scale(report: Report, settings: Settings): Promise<void> {
  const { rounds, seconds } = settings;
  const task = { totalNodes: 1, localNodes: [1] };
  await alternate(BY_BUCKETS, rounds, (contender, round) => {
    report.progress(`buckets: round ${round + 1}, ${contender.name}`);
    const load = { ...BASE, rate: FIXED_RATE, seconds };
    return throughput(report, contender, load, CONDITION.byBuckets, task);
  });
  await bySources(report, settings);
  await alternate([engine('')], Math.min(rounds, 3), (contender, round) => {
    report.progress(`${CONDITION.tenMillion}: round ${round + 1}`);
    return tenMillion(report, contender);
  });
}

async function bySources(report: Report, { rounds, seconds }: Settings): Promise<void> {
  if (!(await canFlood(report))) return;
  const task = { totalNodes: 1, localNodes: [1], processors: PROCESSOR.generator };
  const all = [exampleLoop, statelessLoop, engine(''), stateless].flatMap((contender) =>
    BY_SOURCES.map((load) => ({ contender, load })),
  );
  await alternate(all, rounds, ({ contender, load }, round) => {
    report.progress(`${allOwned(load)}: round ${round + 1}, ${contender.name}`);
    return throughput(report, contender, { ...load, seconds }, allOwned(load), task);
  });
}

/** One round: what memory is held behind a million packets, and behind nine million more. */
async function tenMillion(report: Report, contender: Contender): Promise<void> {
  await within(report, `${contender.name}, ${CONDITION.tenMillion}`, async (wire, round) => {
    const running = await contender.start(wire.node, TASK);
    const load = { ...BASE, rate: 200_000, seconds: 5 };
    await establish(wire, load);
    const first = await offer(wire, running, load);
    const early = memoryOf(running);
    const rest = await offer(wire, running, { ...load, seconds: 45 });
    const late = memoryOf(running);
    const [lost, sent] = [first.lost + rest.lost, first.sent + rest.sent];
    const add = adder(round, CONDITION.tenMillion, contender);
    add('offered', '/s', 'higher', rest.offered);
    add('lost', '%', 'lower', (100 * lost) / sent);
    add('memory', 'MB', 'lower', late);
    add('memory growth', 'MB', 'lower', late - early);
    await running.stop();
  });
}

/** One round: a program that was stopped finds a full queue, and empties it. */
async function backlog(report: Report, contender: Contender): Promise<void> {
  await within(report, `${contender.name}, ${CONDITION.backlog}`, async (wire, round) => {
    const { sender, node } = wire;
    const running = await contender.start(node, { ...TASK, backlog: true });
    const child = running.child!;
    const rate = 100_000; // a little slower than possible, so that all of it arrives
    const load = { ...BASE, rate, seconds: BACKLOG / rate };
    await establish(wire, load);
    child.kill('SIGSTOP');
    await send(sender, load);
    const { held } = counts(node);
    const spent = processorTimeOf(running);
    child.kill('SIGCONT');
    await drained(node);
    const used = processorTimeOf(running) - spent;
    const add = adder(round, CONDITION.backlog, contender);
    add('drained per second of processor time', '/s', 'higher', (1e9 * held) / used);
    add('held', 'packets', 'higher', held);
    await running.stop();
  });
}
