/* What the benchmarks leave behind where something fails. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { canBeLoaded } from '../../bench/support/contenders.js';
import type { Run } from '../../bench/support/results.js';
import { root } from '../support/processes.js';

/** The bench that needs no privilege, where the program that it calls first is missing. */
function failing(out: string): { status: number | null; stderr: string } {
  const args = ['--import', 'tsx', 'bench/main.ts', '--quick', '--out', out, 'hash'];
  return spawnSync(process.execPath, args, { cwd: root, env: { PATH: '' }, encoding: 'utf8' });
}

describe('a benchmark that fails', () => {
  let directory: string;
  before(async () => (directory = await mkdtemp(path.join(tmpdir(), 'bench-'))));
  after(() => rm(directory, { recursive: true }));

  test('leaves what was measured, and says that it is not all', async () => {
    const { status, stderr } = failing(directory);
    assert.equal(status, 1, stderr);
    const run = JSON.parse(await readFile(path.join(directory, 'results.json'), 'utf8')) as Run;
    assert.deepEqual(run.notes, ['hash was not measured to its end: spawn valgrind ENOENT']);
    assert.match(await readFile(path.join(directory, 'results.md'), 'utf8'), /not measured to its/);
  });

  test('has measured nothing where it could not keep it', async () => {
    const file = path.join(directory, 'file');
    await writeFile(file, '');
    const { status, stderr } = failing(file);
    assert.equal(status, 1);
    assert.match(stderr, /^error: --out cannot be written to: EEXIST[^\n]*\n$/);
  });

  test('is not one for a package that is installed and cannot be loaded', async () => {
    const installed = async (name: string, text: string): Promise<string> => {
      const made = path.join(directory, name);
      await mkdir(made);
      await writeFile(path.join(made, 'index.js'), text);
      return made;
    };
    assert.equal(canBeLoaded(await installed('good', '')), true);
    assert.equal(canBeLoaded(await installed('bad', "require('./build/x.node')")), false);
    assert.equal(canBeLoaded(path.join(directory, 'absent')), false);
  });
});
