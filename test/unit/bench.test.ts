/* What the benchmarks leave behind where something fails. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { on, once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { COUNTED } from '../../bench/hash.js';
import { canBeLoaded } from '../../bench/support/contenders.js';
import { farRounds } from '../../bench/support/processors.js';
import { Report, type Run } from '../../bench/support/results.js';
import { root } from '../support/processes.js';

/** The bench that needs no privilege. */
const line = (out: string): string[] => [
  '--import',
  'tsx',
  'bench/main.ts',
  '--quick',
  '--out',
  out,
  'hash',
];

/** That, where the program that it calls first is missing. */
function failing(out: string): { status: number | null; stderr: string } {
  const options = { cwd: root, env: { PATH: '' }, encoding: 'utf8' } as const;
  return spawnSync(process.execPath, line(out), options);
}

const runIn = async (directory: string): Promise<Run> =>
  JSON.parse(await readFile(path.join(directory, 'results.json'), 'utf8')) as Run;

describe('a benchmark that fails', () => {
  let directory: string;
  before(async () => (directory = await mkdtemp(path.join(tmpdir(), 'bench-'))));
  after(() => rm(directory, { recursive: true }));

  test('leaves what was measured, and says that it is not all', async () => {
    const { status, stderr } = failing(directory);
    assert.equal(status, 1, stderr);
    const run = await runIn(directory);
    assert.deepEqual(run.notes, ['hash was not measured to its end: spawn valgrind ENOENT']);
    assert.match(await readFile(path.join(directory, 'results.md'), 'utf8'), /not measured to its/);
  });

  test('leaves what was measured where it is interrupted', async () => {
    const env = { PATH: directory };
    await writeFile(
      path.join(directory, 'valgrind'),
      '#!/bin/sh\necho "Collected : 6400000" >&2\n',
      {
        mode: 0o755,
      },
    );
    const child = spawn(process.execPath, line(directory), { cwd: root, env });
    const exited = once(child, 'exit');
    for await (const [text] of on(child.stderr, 'data', { close: ['end'] }))
      if (/all IPv4 addresses on 3 buckets: round 1/.test(String(text))) child.kill('SIGINT');
    assert.deepEqual(await exited, [130, null]);
    const run = await runIn(directory);
    assert.deepEqual(run.notes, ['hash was not measured to its end: SIGINT']);
    const counted = run.results.filter(({ condition }) => condition.startsWith(COUNTED));
    assert.equal(counted[0]?.contender, '2 buckets');
    assert.equal(counted[0].values.length, 1);
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

  test('names the rounds on processors that were apart, or counts them where they are many', () => {
    const report = new Report();
    report.handovers.push(30, 31, 30, 200);
    report.kept.push({ name: 'near', ns: 31 });
    assert.deepEqual(farRounds(report), []);
    report.kept.push({ name: 'far', ns: 200 });
    const apart = 'rounds were measured while the processors were far from each other';
    assert.deepEqual(farRounds(report), [`1 of 2 ${apart}:\n  - far: 200 ns`]);
    report.kept.push(...Array.from({ length: 20 }, () => ({ name: 'far', ns: 46 })));
    assert.deepEqual(farRounds(report), [`21 of 22 ${apart}.`]);
  });
});
