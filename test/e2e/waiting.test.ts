/* The knobs of how a queue thread waits for packets, and is woken, do what they say; none is lost by them. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { open, type Options, type Stats } from '../../src/index.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { waitFor } from '../support/processes.js';
import { NODE, wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

interface Load {
  count: number;
  /** Microseconds. */
  apart: number;
}

/** Sends packets that are all owned, waits until they are decided, and says what that took. */
async function decided(
  knobs: Pick<Options, 'gather' | 'busyPoll' | 'realtime'>,
  { count, apart }: Load,
): Promise<{ stats: Stats; processorTime: number; scheduling: Scheduling[] }> {
  await using lab = await wire();
  await using engine = await open({
    interfaces: ['eth0'],
    totalNodes: 1,
    localNode: 1,
    hashSeed: 0,
    netns: lab.node.path,
    rules: 'auto',
    ...knobs,
  });
  const frames = Array.from({ length: count }, () => udp({ src: '10.20.0.1', dst: NODE.ipv4 }));
  const before = process.cpuUsage();
  await inject(lab.sender, 'eth0', frames, { rate: 1e6 / apart });
  await waitFor('all packets', () => engine.stats().owned === count);
  const { system, user } = process.cpuUsage(before);
  return { stats: engine.stats(), processorTime: system + user, scheduling: scheduling() };
}

interface Scheduling {
  thread: string;
  policy: number;
  priority: number;
}

/** How the threads of this process are scheduled; see proc_pid_stat(5). */
const scheduling = (): Scheduling[] =>
  readdirSync('/proc/self/task').map((id) => {
    const stat = readFileSync(`/proc/self/task/${id}/stat`, 'utf8');
    const [, thread, fields] = /\((.*)\) (.*)/.exec(stat)!;
    const [priority, policy] = fields!.split(' ').slice(37, 39).map(Number);
    return { thread: thread!, policy: policy!, priority: priority! };
  });

const SCHED_FIFO = 1;

test('an engine that gathers answers many packets at once', { skip }, async () => {
  // Twenty come in the longest time that an engine may gather.
  const load = { count: 400, apart: 500 };
  const alone = (await decided({}, load)).stats.batches;
  const gathered = (await decided({ gather: 10_000 }, load)).stats.batches;
  assert.ok(gathered <= load.count / 5, `${gathered} batches`);
  assert.ok(gathered < alone / 2, `${gathered} batches, and ${alone} without`);
});

for (const [what, apart] of [
  ['awake', 500],
  ['asleep', 20_000],
] as const) {
  test(`an engine that polls busily decides what finds it ${what}`, { skip }, async () => {
    const load = { count: 100, apart };
    const busyPoll = 5000;
    const { processorTime } = await decided({ busyPoll }, load);
    const awake = load.count * Math.min(apart, busyPoll);
    assert.ok(processorTime > awake / 2, `${processorTime} µs of processor time`);
  });
}

test('an engine by real time puts its queue threads, and no others, first', { skip }, async () => {
  const load = { count: 100, apart: 100 };
  const { scheduling } = await decided({ realtime: 7 }, load);
  const first = scheduling.filter(({ policy }) => policy === SCHED_FIFO);
  assert.deepEqual(first, [{ thread: 'nfq-0', policy: SCHED_FIFO, priority: 7 }]);
  const ordinary = (await decided({}, load)).scheduling;
  assert.ok(ordinary.some(({ thread }) => thread === 'nfq-0'));
  assert.ok(ordinary.every(({ policy }) => policy !== SCHED_FIFO));
});
