/* A round of the benchmarks whose contender fails. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import {
  ContenderFailed,
  PROCESSOR,
  processorTime,
  startPinned,
} from '../../bench/support/process.js';
import { heldUp } from '../../bench/support/processors.js';
import { Report } from '../../bench/support/results.js';
import { peer } from '../../bench/support/contenders.js';
import { within } from '../../bench/support/traffic.js';
import { ended } from '../../src/lab/namespaces.js';

const FIGURE = {
  bench: 'packets',
  condition: 'any',
  contender: 'any',
  metric: 'handled',
  unit: '/s',
  better: 'higher',
} as const;

test('a contender that ends in a round loses that round alone', async () => {
  const report = new Report();
  await within(report, 'any', async ({ node }, round) => {
    round.add(FIGURE, 1);
    const child = await startPinned(node, PROCESSOR.contender, ['sh', '-c', 'echo ready; read x']);
    assert.ok(processorTime(child) > 0);
    child.stdin!.end();
    await ended(child);
    processorTime(child);
  });
  await within(report, 'any', (_, round) => Promise.resolve(round.add(FIGURE, 2)));
  assert.deepEqual(
    report.results.map(({ values }) => values),
    [[2]],
  );
  assert.deepEqual(report.notes, [
    'any: a round is missing: its program ended while it was measured',
  ]);
  assert.equal(report.failed, true);
});

test('a contender that does not start loses its rounds alone', async () => {
  const report = new Report();
  await within(report, 'any', async ({ node }) => {
    await peer('absent').start(node, { totalNodes: 2, localNodes: [1] });
  });
  assert.match(
    report.notes[0]!,
    /^any: a round is missing: .*absent.* did not start: [^]*Cannot find/,
  );
});

test('what is no contender’s failure ends the bench', async () => {
  const fails = within(new Report(), 'any', () => Promise.reject(new Error('other')));
  await assert.rejects(fails, (error) => !(error instanceof ContenderFailed));
});

test('it is noted what others take of the contender’s processor', async () => {
  const busy = ['--cpu-list', PROCESSOR.contender, 'sh', '-c', 'echo; while :; do :; done'];
  const other = spawn('taskset', busy, { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await once(other.stdout, 'data');
    const [, share] = /was held up in (\S+) % of the time, for more than 50 µs/.exec(
      await heldUp(0.5),
    )!;
    // Fairly shared, half of it.
    assert.ok(Number(share) > 10 && Number(share) < 100, share);
  } finally {
    other.kill('SIGKILL');
  }
});
