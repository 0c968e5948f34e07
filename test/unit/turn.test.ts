/* What is done in turn, where the turn cannot be had. */
import assert from 'node:assert/strict';
import childProcess from 'node:child_process';
import { syncBuiltinESMExports } from 'node:module';
import { test } from 'node:test';
import { inTurn } from '../../src/setup/turn.js';

test('is done also where no program may be started, as by --permission', async (t) => {
  const spawn = t.mock.method(childProcess, 'spawn', () => {
    throw Object.assign(new Error('on purpose'), { code: 'ERR_ACCESS_DENIED' });
  });
  syncBuiltinESMExports();
  t.after(() => {
    spawn.mock.restore();
    syncBuiltinESMExports();
  });
  assert.equal(await inTurn(undefined, () => Promise.resolve('done')), 'done');
  assert.equal(spawn.mock.callCount(), 1);
});
