/* For open.test.ts: tries to open an engine, and prints the error. */
import assert from 'node:assert/strict';
import { open } from '../../src/engine.js';
import type { Rules } from '../../src/options/types.js';
import { quiet } from './lab.js';

const [netns, rules] = process.argv.slice(2) as [string, Rules];
const { netns: _, ...here } = quiet('');
await assert.rejects(
  open({ ...here, ...(netns === '' ? {} : { netns }), rules }),
  (error: Error) => {
    console.log(JSON.stringify(Object.assign({ message: error.message }, error)));
    return true;
  },
);
