/* Which of several queues a packet comes to: by its addresses, or by the processor that handles it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { NfqClusterError, open, type Engine } from '../../src/index.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { cli, share, waitFor } from '../support/processes.js';
import { NODE, owningAll, wire, type Wire } from '../support/wire.js';

const QUEUES = [6, 7];

/** Whether something may run on the processor. */
const runsOn = (processor: number): boolean =>
  spawnSync('taskset', ['--cpu-list', String(processor), 'true']).status === 0;

const skip =
  process.getuid?.() !== 0
    ? 'needs root'
    : runsOn(0) && runsOn(1)
      ? false
      : 'needs processors 0 and 1';

/** Of as many flows over IPv4 as over IPv6, a packet each. */
const FRAMES = Array.from({ length: 32 }, (_, at) => [
  udp({ src: `10.1.0.${100 + at}`, dst: NODE.ipv4 }),
  udp({ src: `fd01::${100 + at}`, dst: NODE.ipv6 }),
]).flat();

/** How many packets each queue has been given; see the kernel's seq_show() in nfnetlink_queue.c. */
async function perQueue({ node }: Wire): Promise<number[]> {
  const rows = (await node.run('cat', ['/proc/net/netfilter/nfnetlink_queue'])).trim().split('\n');
  const given = new Map(
    rows
      .map((row) => row.trim().split(/\s+/).map(Number))
      .map((columns) => [columns[0], columns[7]!]),
  );
  return QUEUES.map((queue) => given.get(queue) ?? NaN);
}

/** Where the queues' threads may run, as the kernel lists processors. */
function processors(pid = process.pid): string[] {
  const threads = `/proc/${pid}/task`;
  const of = (thread: string, file: string): string =>
    readFileSync(path.join(threads, thread, file), 'utf8').trim();
  const all = readdirSync(threads);
  return QUEUES.map((queue) => {
    const thread = all.find((candidate) => of(candidate, 'comm') === `nfq-${queue}`);
    return /^Cpus_allowed_list:\s*(.*)$/m.exec(of(thread!, 'status'))![1]!;
  });
}

/** Sends the frames on one processor, waits until they are decided, and says how many came to each queue. */
async function spread(at: Wire, engine: Engine, processor: number): Promise<number[]> {
  const [before, received] = [await perQueue(at), engine.stats().received];
  await inject(at.sender, 'eth0', FRAMES, { processor });
  await waitFor('all packets', () => engine.stats().received === received + FRAMES.length);
  return (await perQueue(at)).map((given, index) => given - before[index]!);
}

describe('two queues', { skip }, () => {
  for (const rules of ['nft', 'nft-compat', 'xtables'] as const) {
    test(`by ${rules}`, async (t) => {
      await using at = await wire();
      const all = FRAMES.length;
      try {
        await using engine = await open(owningAll(at.node, { queues: QUEUES, rules }));
        const [first, second] = await spread(at, engine, 0);
        assert.ok(first! > 0 && second! > 0, 'the flows of one processor come to both');
        assert.deepEqual(new Set(processors()).size, 1, 'both threads run anywhere');
      } catch (error) {
        if (!(error instanceof NfqClusterError) || error.code !== 'ERR_NO_NFQUEUE') throw error;
        return t.skip('the kernel has no such rule');
      }
      await using engine = await open(
        owningAll(at.node, { queues: QUEUES, rules, queueCpuFanout: true }),
      );
      const [even, odd] = processors();
      assert.match(even!, /^0\b/);
      assert.match(odd!, /^1\b/);
      assert.notEqual(even, odd);
      assert.deepEqual(await spread(at, engine, 0), [all, 0]);
      assert.deepEqual(await spread(at, engine, 1), [0, all]);
      assert.deepEqual(await spread(at, engine, 0), [all, 0]);
    });
  }

  test('a thread stays where it is if its process may use none of its processors', async () => {
    await using at = await wire();
    const args = ['run', '--json', '--interface', 'eth0', ...share(1, 1)];
    const queues = ['--queue', QUEUES.join('-'), '--queue-cpu-fanout'];
    const wrapper = ['taskset', '--cpu-list', '1'];
    const run = cli([...args, ...queues], { namespace: at.node, wrapper });
    await run.event('ready');
    assert.deepEqual(processors(run.child.pid), ['1', '1']);
    run.child.kill('SIGTERM');
    assert.equal((await run.outcome).status, 0);
  });
});
