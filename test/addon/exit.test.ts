/* A process, or a worker thread, that ends at any step of an engine's life: cleanly, and with its queue. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { open } from '../../src/engine.js';
import { Namespace } from '../../src/lab/namespaces.js';
import { keepsUser } from '../support/capabilities.js';
import { boundQueues, child, quiet, skip, thread } from './lab.js';
import type { Step, Way } from './exit-child.js';

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
