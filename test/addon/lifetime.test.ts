/*
 * How engines and hashers end: with a process or a worker thread, at any step of an engine's life, cleanly and with its
 * queue; or by the garbage collector.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { open } from '../../src/engine.js';
import { Hasher } from '../../src/hash.js';
import { Namespace } from '../../src/lab/namespaces.js';
import { keepsUser } from '../support/capabilities.js';
import type { Step, Way } from './exit-child.js';
import { boundQueues, child, quiet, skip, thread } from './lab.js';

const STEPS: readonly Step[] = ['opening', 'half open', 'opened', 'closing', 'closed'];

describe('a process', { skip }, () => {
  const leave = async (step: Step, way: Way) => {
    await using namespace = await Namespace.create();
    const outcome = await child('exit-child.ts', [namespace.path, step, way]);
    assert.deepEqual(await boundQueues(namespace), []);
    return outcome;
  };

  for (const step of STEPS) {
    test(`that calls process.exit(), ${step}`, async () => {
      assert.deepEqual(await leave(step, 'exit'), { status: 7, stdout: '', stderr: '' });
    });

    test(`that does not catch an error, ${step}`, async () => {
      for (const way of ['throw', 'reject'] as const) {
        const { status, stderr } = await leave(step, way);
        assert.equal(status, 1);
        assert.match(stderr, /Error: on purpose/);
      }
    });
  }

  test('with a closed engine ends by itself', async () => {
    assert.deepEqual(await leave('closed', 'end'), { status: 0, stdout: '', stderr: '' });
  });

  test(
    'that has given up its privileges can still close its engine',
    { skip: keepsUser() },
    async () => {
      const outcome = await leave('closed', 'unprivileged');
      assert.deepEqual(outcome, { status: 0, stdout: '', stderr: '' });
    },
  );

  test('with an open engine lives on, until unref()', async () => {
    assert.deepEqual(await leave('opened', 'wait'), { status: 0, stdout: 'alive\n', stderr: '' });
  });

  test('with an open engine and unref() ends by itself', async () => {
    assert.deepEqual(await leave('opened', 'unref'), { status: 0, stdout: '', stderr: '' });
  });
});

/** Opens an engine on the same queue, which works once the thread's engine has let go of it. */
async function reopen(netns: string): Promise<void> {
  await (await open(quiet(netns))).close();
}

describe('a worker thread', { skip }, () => {
  for (const step of STEPS) {
    test(`that is terminated, ${step}`, async () => {
      await using namespace = await Namespace.create();
      for (let round = 0; round < 3; round += 1) {
        const worker = thread('exit-child.ts', [namespace.path, step, 'end']);
        await once(worker, 'message');
        await worker.terminate();
        await reopen(namespace.path);
      }
    });

    test(`that calls process.exit(), ${step}`, async () => {
      await using namespace = await Namespace.create();
      const [status] = (await once(
        thread('exit-child.ts', [namespace.path, step, 'exit']),
        'exit',
      )) as [number];
      assert.equal(status, 7);
      await reopen(namespace.path);
    });

    test(`that does not catch an error, ${step}`, async () => {
      await using namespace = await Namespace.create();
      const worker = thread('exit-child.ts', [namespace.path, step, 'throw']);
      // Not once(), which an error would end.
      const exited = new Promise((resolve) => worker.once('exit', resolve));
      const [error] = (await once(worker, 'error')) as [Error];
      assert.equal(error.message, 'on purpose');
      await exited;
      await reopen(namespace.path);
    });
  }

  test('with a closed engine ends by itself', async () => {
    await using namespace = await Namespace.create();
    const [status] = (await once(
      thread('exit-child.ts', [namespace.path, 'closed', 'end']),
      'exit',
    )) as [number];
    assert.equal(status, 0);
  });

  test('with an open engine lives on, until unref()', async () => {
    await using namespace = await Namespace.create();
    const worker = thread('exit-child.ts', [namespace.path, 'opened', 'wait']);
    const alive = once(worker.stdout, 'data');
    const [status] = (await once(worker, 'exit')) as [number];
    assert.equal(status, 0);
    assert.equal(String((await alive)[0]), 'alive\n');
    await reopen(namespace.path);
  });
});

describe('hashers in worker threads', () => {
  test('agree with one here, and can be terminated amid their work', async () => {
    const seeds = [1, 2, 3];
    const workers = seeds.map((seed) => thread('hasher-child.ts', [String(seed)]));
    const firsts = await Promise.all(workers.map((worker) => once(worker, 'message')));
    const addresses = Uint32Array.from({ length: 1000 }, (_, at) => at);
    seeds.forEach((hashSeed, at) => {
      const hasher = new Hasher({ hashSeed, buckets: 1023 });
      assert.deepEqual(firsts[at]![0], hasher.bucketsIpv4(addresses));
    });
    assert.deepEqual(await Promise.all(workers.map((worker) => worker.terminate())), [1, 1, 1]);
    assert.equal(new Hasher({ hashSeed: 0, totalNodes: 1 }).node('10.0.0.1'), 1);
  });
});

const SCENARIOS = [
  'hashers',
  'a closed engine',
  'an engine that could not open',
  'an engine that was never opened',
  'not an engine before its close() is done',
  'not an open engine',
  'not the counters',
];

describe('the garbage collector takes', { skip }, () => {
  for (const what of SCENARIOS) {
    test(what, async () => {
      await using namespace = await Namespace.create();
      const flags = ['--expose-gc'];
      const outcome = await child('gc-child.ts', [namespace.path, what], { flags });
      assert.deepEqual(outcome, { status: 0, stdout: 'done\n', stderr: '' });
    });
  }
});
