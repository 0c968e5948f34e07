/* What the garbage collector may take, and what not; each in a process of its own. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Namespace } from '../../src/lab/namespaces.js';
import { child, skip } from './lab.js';

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
