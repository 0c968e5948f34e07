/* What a full queue and a full socket buffer cost: it is dropped, counted and told, and nothing else is. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { Control, open, type EngineEvents, type Options } from '../../src/index.js';
import type { Namespace } from '../../src/lab/namespaces.js';
import { inject } from '../support/inject.js';
import { engineProcess } from '../support/offload-process.js';
import { udp } from '../support/packets.js';
import { waitFor } from '../support/processes.js';
import { counter } from '../support/state.js';
import { NODE, owningAll, SENDER, wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

type Lost = EngineEvents['loss'][0];

const FLOOD = Array.from({ length: 3000 }, (_, flow) =>
  udp({ src: SENDER.ipv4, dst: NODE.ipv4, sport: 1024 + flow }),
);

const BEHIND = `table inet behind {
  counter accepted { }
  chain last { type filter hook prerouting priority 10; udp dport 9 counter name accepted; }
}`;

const accepted = (node: Namespace): Promise<number> => counter(node, 'behind', 'accepted');

const sum = (lost: readonly Lost[]): Lost => ({
  queueDropped: lost.reduce((total, { queueDropped }) => total + queueDropped, 0),
  userDropped: lost.reduce((total, { userDropped }) => total + userDropped, 0),
});

const CASES: [string, Pick<Options, 'queueLength' | 'receiveBuffer'>, keyof Lost, keyof Lost][] = [
  ['queue', { queueLength: 2 }, 'queueDropped', 'userDropped'],
  ['receive buffer', { receiveBuffer: 4096 }, 'userDropped', 'queueDropped'],
];

for (const [what, small, counted, other] of CASES) {
  test(`a full ${what} is told as loss, and the engine goes on`, { skip }, async () => {
    await using lab = await wire();
    await lab.node.run('nft', ['-f', '-'], BEHIND);
    // Slow, so that they meet a full one.
    await using engine = await open(owningAll(lab.node, { gather: 10_000, ...small }));
    const lost: Lost[] = [];
    for (const round of [1, 2]) {
      const before = engine.stats();
      await inject(lab.sender, 'eth0', FLOOD);
      await waitFor('the flood is received or dropped', () => {
        const { received, queueDropped, userDropped } = engine.stats();
        return received + queueDropped + userDropped === round * (FLOOD.length + 1) - 1;
      });
      const after = engine.stats();
      assert.ok(after[counted] - before[counted] > FLOOD.length / 2);
      assert.equal(after[other], 0);

      await inject(lab.sender, 'eth0', FLOOD.slice(0, 1));
      await waitFor('one more is received', () => engine.stats().received === after.received + 1);
      await waitFor('it passes', async () => (await accepted(lab.node)) === after.received + 1);

      // Who listens late is told of all since the start; after that, of what came since.
      if (round === 1) engine.on('loss', (event) => lost.push(event));
      await waitFor('the loss is told', () => sum(lost)[counted] === after[counted]);
      assert.equal(sum(lost)[other], 0);
      assert.ok(lost.at(-1)![counted] > FLOOD.length / 2);
    }
    assert.equal(engine.stats().receiveErrors + engine.stats().verdictErrors, 0);
  });
}

const states = (pid: number): string[] =>
  readdirSync(`/proc/${pid}/task`).map(
    (thread) => readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8').split(') ')[1]![0]!,
  );

test('a process that is stopped, and goes on, has lost nothing', { skip }, async () => {
  await using lab = await wire();
  const folder = await mkdtemp(path.join(tmpdir(), 'nfq-cluster-'));
  try {
    const control = path.join(folder, 'socket');
    await using engine = await engineProcess(owningAll(lab.node, { conntrack: 'mark', control }));
    const ask = new Control({ path: control });
    const { pid } = await ask.status();
    for (let times = 0; times < 5; times += 1) {
      engine.kill('SIGSTOP');
      await waitFor('all threads to stop', () => states(pid).every((state) => state === 'T'));
      engine.kill('SIGCONT');
      const { counts } = await ask.status();
      assert.equal(counts.receiveErrors, 0);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});
