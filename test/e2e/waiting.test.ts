/* The knobs of how a queue thread waits for packets, and is woken, do what they say; none is lost by them. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { open, type Options, type Stats } from '../../src/index.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { cli, waitFor } from '../support/processes.js';
import { NODE, owningAll, wire, type Wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

interface Load {
  count: number;
  /** Microseconds. */
  apart: number;
}

type Knobs = Pick<Options, 'gather' | 'busyPoll' | 'realtime'>;

const LOAD: Load = { count: 100, apart: 100 };

async function send({ sender }: Wire, { count, apart }: Load): Promise<void> {
  const frames = Array.from({ length: count }, () => udp({ src: '10.20.0.1', dst: NODE.ipv4 }));
  await inject(sender, 'eth0', frames, { rate: 1e6 / apart });
}

/** Sends packets that are all owned, waits until they are decided, and says what that took. */
async function decided(
  knobs: Knobs,
  load: Load,
): Promise<{ stats: Stats; processorTime: number; scheduling: Scheduling[] }> {
  await using lab = await wire();
  await using engine = await open(owningAll(lab.node, knobs));
  const before = process.cpuUsage();
  await send(lab, load);
  await waitFor('all packets', () => engine.stats().owned === load.count);
  const { system, user } = process.cpuUsage(before);
  return { stats: engine.stats(), processorTime: system + user, scheduling: scheduling() };
}

interface Scheduling {
  thread: string;
  policy: number;
  priority: number;
}

/** How the threads of a process are scheduled; see proc_pid_stat(5). */
const scheduling = (pid: number | 'self' = 'self'): Scheduling[] =>
  readdirSync(`/proc/${pid}/task`).map((id) => {
    const stat = readFileSync(`/proc/${pid}/task/${id}/stat`, 'utf8');
    const [, thread, fields] = /\((.*)\) (.*)/.exec(stat)!;
    const [priority, policy] = fields!.split(' ').slice(37, 39).map(Number);
    return { thread: thread!, policy: policy!, priority: priority! };
  });

const [SCHED_FIFO, SCHED_RR] = [1, 2];

test('an engine that gathers answers many packets at once', { skip }, async () => {
  // Twenty come in the longest time that an engine may gather.
  const load = { count: 400, apart: 500 };
  const alone = (await decided({}, load)).stats.batches;
  const gathered = (await decided({ gather: 10_000 }, load)).stats.batches;
  assert.ok(gathered <= load.count / 5, `${gathered} batches`);
  assert.ok(gathered < alone / 2, `${gathered} batches, and ${alone} without`);
});

test('an engine that gathers closes at once, although packets keep coming', { skip }, async () => {
  await using lab = await wire();
  const rule = ['-t', 'mangle', '-A', 'PREROUTING', '-i', 'eth0', '-j', 'NFQUEUE'];
  await lab.node.run('iptables-nft', rule);
  await using engine = await open(owningAll(lab.node, { gather: 10_000, rules: 'none' }));
  // From three, since one that has to wait for its processor would leave a gap.
  const senders = [0, 1, 2].map(() => send(lab, { count: 8000, apart: 500 }));
  await waitFor('the first packets', () => engine.stats().owned > 100);
  const start = performance.now();
  await engine.close({ deadline: 10_000 });
  const took = performance.now() - start;
  await Promise.all(senders);
  assert.ok(took < 300, `${took} ms`);
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

const fifo = (all: readonly Scheduling[]): Scheduling[] =>
  all.filter(({ policy }) => policy === SCHED_FIFO);

for (const [realtime, priority] of [
  [undefined, 1],
  [7, 7],
] as const) {
  const title = `puts its queue threads, and no others, first by real time ${realtime ?? 'auto'}`;
  test(`an engine ${title}`, { skip }, async () => {
    const { scheduling } = await decided(realtime === undefined ? {} : { realtime }, LOAD);
    assert.deepEqual(fifo(scheduling), [{ thread: 'nfq-0', policy: SCHED_FIFO, priority }]);
  });
}

for (const knobs of [{ realtime: 0 }, { gather: 100 }]) {
  test(`an engine with ${inspect(knobs)} has ordinary threads`, { skip }, async () => {
    const { scheduling } = await decided(knobs, LOAD);
    assert.ok(scheduling.some(({ thread }) => thread === 'nfq-0'));
    assert.deepEqual(fifo(scheduling), []);
  });
}

for (const [what, wrapper, found] of [
  ['scheduled otherwise', ['chrt', '--rr', '5'], { policy: SCHED_RR, priority: 5 }],
  // Else the kernel would kill it for a thread that polls busily.
  ['that must sleep', ['prlimit', '--rttime=200000'], { policy: 0, priority: 0 }],
] as const) {
  test(`an engine leaves a process ${what} as it is`, { skip }, async () => {
    await using lab = await wire();
    const flags = ['-i', 'eth0', '--cluster-total-nodes', '1', '--cluster-local-node', '1'];
    const line = [...flags, '--cluster-hash-seed', '0', '--control', 'none', '--json'];
    const run = cli(['run', ...line], { namespace: lab.node, wrapper });
    await run.event('ready');
    const thread = scheduling(run.child.pid).find(({ thread }) => thread === 'nfq-0');
    assert.deepEqual(thread, { thread: 'nfq-0', ...found });
    run.child.kill('SIGINT');
    assert.equal((await run.outcome).status, 0);
  });
}

test('a thread that takes a whole processor is an ordinary one meanwhile', { skip }, async () => {
  await using lab = await wire();
  // Packets find it awake, until they stop.
  await using engine = await open(owningAll(lab.node, { busyPoll: 5000 }));
  assert.equal(fifo(scheduling()).length, 1);
  const load = { count: 2000, apart: 1000 };
  const sent = send(lab, load);
  await waitFor('it to be an ordinary one', () => fifo(scheduling()).length === 0);
  await sent;
  await waitFor('all packets', () => engine.stats().owned === load.count);
  await waitFor('it to be first again', async () => {
    await send(lab, { count: 1, apart: 1 });
    return fifo(scheduling()).length === 1;
  });
});
