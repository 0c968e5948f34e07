/*
 * npm test: builds the addon both ways and runs every test, the native ones included
 * (test/native.test.ts). `npm test -- WORD` runs the test files with WORD in their path; what
 * begins with a dash goes to node, as in `npm test -- --test-concurrency=1`.
 */
import os from 'node:os';
import process from 'node:process';
import { buildAddon, buildTypeScript, buildWithCMake } from './builds.mjs';
import { filesBelow } from './fingerprint.mjs';
import { root } from './node-gyp.mjs';
import { setUp } from './setup.mjs';
import { Failure, foreground, main } from './steps.mjs';

function testFiles(words) {
  const files = filesBelow('test')
    .filter((file) => file.endsWith('.test.ts'))
    .filter((file) => words.length === 0 || words.some((word) => file.includes(word)));
  if (files.length === 0) throw new Failure(`no test file has ${words.join(' or ')} in its path.`);
  return files;
}

await main(async () => {
  const isFlag = (argument) => argument.startsWith('-');
  const files = testFiles(process.argv.slice(2).filter((argument) => !isFlag(argument)));
  setUp('compile', 'node-gyp', 'cmake', 'run', 'test');
  await buildAddon();
  await buildWithCMake();
  await buildTypeScript();
  const flags = process.argv.slice(2).filter(isFlag);
  // By default Node.js leaves one processor idle, and most tests wait for other programs.
  const atOnce = `--test-concurrency=${os.availableParallelism()}`;
  const args = ['--import', 'tsx', '--test', '--test-timeout=900000', atOnce, ...flags, ...files];
  return foreground(process.execPath, args, { cwd: root });
});
