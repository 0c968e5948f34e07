/* The native tests, one test here for each case that ctest knows. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

const build = path.resolve(import.meta.dirname, '../native/build');

interface Case {
  name: string;
  status: string;
  skipped: boolean;
  output: string;
}

const ENTITIES: Record<string, string> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' };
const unescape = (text: string) =>
  text.replace(/&(\w+);/g, (whole, name: string) => ENTITIES[name] ?? whole);

/** Runs ctest and reads its report. */
function runCtest(): Case[] {
  const directory = mkdtempSync(path.join(tmpdir(), 'nfq-cluster-ctest-'));
  try {
    // ctest writes its logs where it starts; the build may belong to another user.
    writeFileSync(path.join(directory, 'CTestTestfile.cmake'), `subdirs("${build}")`);
    const report = path.join(directory, 'report.xml');
    const jobs = String(availableParallelism());
    const args = ['--test-dir', directory, '--output-junit', report, '--parallel', jobs];
    const { stdout, stderr } = spawnSync('ctest', args, { encoding: 'utf8' });
    assert.ok(existsSync(report), `ctest wrote no report\n${stdout}${stderr}`);
    const cases = readFileSync(report, 'utf8').matchAll(
      /<testcase name="(?<name>[^"]*)"[^>]* status="(?<status>\w+)">(?<body>.*?)<\/testcase>/gs,
    );
    return Array.from(cases, ({ groups = {} }) => ({
      name: unescape(groups['name'] ?? ''),
      status: groups['status'] ?? '',
      // A program that could not be run is `notrun` as well, with another message.
      skipped: />Disabled<|"SKIP_/.test(groups['body'] ?? ''),
      output: unescape((groups['body'] ?? '').replace(/<[^>]*>/g, '')).trim(),
    }));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('native', async (t) => {
  assert.ok(existsSync(path.join(build, 'CTestTestfile.cmake')), 'run this through npm test');
  const cases = runCtest();
  assert.ok(cases.length > 0, 'ctest found no test');
  for (const { name, status, skipped, output } of cases) {
    await t.test(name, { skip: skipped }, () => {
      assert.equal(status, 'run', output);
    });
  }
});
