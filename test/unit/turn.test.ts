/* What is done in turn. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';
import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { native } from '../../src/native.js';
import { inTurn } from '../../src/setup/turn.js';
import { waitFor } from '../support/processes.js';

/** A file serves as well as a namespace, which only root may make. */
function file(): { path: string } & Disposable {
  const folder = mkdtempSync(path.join(tmpdir(), 'nfq-cluster-'));
  const name = path.join(folder, 'namespace');
  writeFileSync(name, '');
  return { path: name, [Symbol.dispose]: () => rmSync(folder, { recursive: true }) };
}

describe('in turn', () => {
  it('is done one after the other in one process', async (t) => {
    using at = file();
    const tries = t.mock.method(native, 'lockNetns');
    const order: string[] = [];
    const first = inTurn(at.path, async () => {
      order.push('first begins');
      await waitFor('the second to have tried', () => tries.mock.callCount() >= 2);
      await turnOfTheLoop();
      order.push('first ends');
    });
    const second = inTurn(at.path, () => Promise.resolve(order.push('second')));
    await Promise.all([first, second]);
    assert.deepEqual(order, ['first begins', 'first ends', 'second']);
  });

  it('waits for another process, until that ends', async (t) => {
    using at = file();
    const holder = spawn('flock', [at.path, 'sh', '-c', 'echo locked; exec cat'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    await once(holder.stdout, 'data');
    const tries = t.mock.method(native, 'lockNetns');
    let done = false;
    const mine = inTurn(at.path, () => Promise.resolve((done = true)));
    await waitFor('a second try', () => tries.mock.callCount() >= 2);
    assert.ok(!done);
    holder.stdin.end();
    await mine;
    assert.ok(done);
  });

  it('gives its turn to the next also where it fails', async () => {
    using at = file();
    await assert.rejects(
      inTurn(at.path, () => Promise.reject(new Error('on purpose'))),
      /on purpose/,
    );
    const release = native.lockNetns(at.path);
    assert.ok(release);
    assert.equal(native.lockNetns(at.path), undefined);
    release();
    native.lockNetns(at.path)!();
  });

  it('is done also where no turn can be had', async () => {
    assert.equal(await inTurn('/nowhere', () => Promise.resolve('done')), 'done');
    assert.throws(() => native.lockNetns('/nowhere'), { kind: 'noNetns', errno: 2 });
    for (const path of [5, 'a\0b'])
      assert.throws(() => (native.lockNetns as (path?: unknown) => unknown)(path), TypeError);
  });
});
