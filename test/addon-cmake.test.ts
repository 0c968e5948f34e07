/* The addon's tests run by themselves against node-gyp's build. Here: against that of cmake-js. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { text } from 'node:stream/consumers';

const root = path.resolve(import.meta.dirname, '..');
const folder = path.join(root, 'test/addon');
const env: NodeJS.ProcessEnv = { ...process.env, NFQ_CLUSTER_PREBUILD: path.join(root, 'native') };
// Else the child takes itself for one of the test runner's and reports in the runner's own format.
delete env['NODE_TEST_CONTEXT'];

/* They take long, and would find no more: both builds have the same sources and definitions (layers.test.ts). */
const MANY_PROCESSES = new Set(['lifetime.test.ts', 'open.test.ts']);

/** Runs one test file in a process of its own. */
async function runFile(file: string): Promise<{ status: number | null; output: string }> {
  const args = ['--import', 'tsx', path.join(folder, file)];
  const child = spawn(process.execPath, args, { cwd: root, env });
  const status = new Promise<number | null>((resolve) => child.once('close', resolve));
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { status: await status, output: stdout + stderr };
}

test('the addon as cmake-js builds it', async (t) => {
  const addon = path.join(root, 'native/build/Release/nfq_cluster.node');
  assert.ok(existsSync(addon), 'run this through npm test');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  const isTest = (file: string): boolean => file.endsWith('.test.ts') && !MANY_PROCESSES.has(file);
  for (const file of files.filter(isTest).sort()) {
    await t.test(file, async () => {
      const { status, output } = await runFile(file);
      assert.equal(status, 0, output);
    });
  }
});
