/* npm run lint: formatting, lint and types of both languages. With --fix (npm run format): rewrites. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { forgetMovedBuild } from './builds.mjs';
import { filesBelow, once } from './fingerprint.mjs';
import { root } from './node-gyp.mjs';
import { explain, missing } from './packages.mjs';
import { canInstall, setUp } from './setup.mjs';
import { Failure, foreground, main, say, step } from './steps.mjs';

const fix = process.argv.includes('--fix');
const sources = ['native', 'test/native', 'test/fuzz', 'bench/native']
  .flatMap(filesBelow)
  .filter((file) => /\.(cc|h)$/.test(file));

/** What clang-tidy's answer depends on besides the sources. */
const TIDY_SETTINGS = [
  '.clang-tidy',
  'bench/native/.clang-tidy',
  'test/native/.clang-tidy',
  'native/CMakeLists.txt',
  'native/CMakePresets.json',
  'package-lock.json',
];

const installed = (file, ...args) => [
  process.execPath,
  [path.join(root, 'node_modules', file), ...args],
];

const tools = {
  prettier: installed(
    'prettier/bin/prettier.cjs',
    fix ? '--write' : '--check',
    '--log-level=warn',
    '.',
  ),
  eslint: installed('eslint/bin/eslint.js', ...(fix ? ['--fix'] : []), '.'),
  tsc: installed('typescript/bin/tsc', '--noEmit'),
  'clang-format': installed(
    'clang-format-node/build/cli.js',
    ...(fix ? ['-i'] : ['--dry-run', '-Werror', '-ferror-limit=1']),
    ...sources,
  ),
};

async function run(name) {
  say(`${name} ...`);
  const [file, args] = tools[name];
  return (await foreground(file, args, { cwd: root })) === 0;
}

/** Runs `work` on every item, as many at a time as there are processors. */
async function pooled(items, work) {
  const queue = [...items];
  const worker = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: os.availableParallelism() }, worker));
}

/** What clang-tidy says against a file; nothing if it is clean. */
async function complaintsOf(build, file) {
  try {
    const args = ['-p', build, '--quiet', file];
    const { stderr } = await promisify(execFile)('clang-tidy', args, { maxBuffer: 2 ** 26 });
    // It goes on without its configuration, and succeeds, if it cannot read it.
    return stderr.includes('Error parsing') ? stderr : '';
  } catch (error) {
    return error.stdout || error.stderr || error.message;
  }
}

/** Whether clang-tidy passes every file in the dev preset's compilation database. */
async function tidy() {
  const build = path.join(root, 'native/build-dev');
  forgetMovedBuild('native/build-dev');
  step('configuring for clang-tidy', 'cmake', ['--preset', 'dev'], {
    cwd: path.join(root, 'native'),
  });
  const database = JSON.parse(readFileSync(path.join(build, 'compile_commands.json'), 'utf8'));
  const shared = sources.filter((file) => file.endsWith('.h')).concat(TIDY_SETTINGS);
  let clean = true;
  await pooled(database, async ({ file: absolute }) => {
    const file = path.relative(root, absolute);
    const inputs = [file, ...shared];
    const name = `tidy-${file.replaceAll('/', '-')}`;
    await once(name, { inputs, output: file }, async () => {
      const complaints = await complaintsOf(build, absolute);
      if (complaints === '') return true;
      process.stderr.write(`${file}:\n${complaints}\n`);
      clean = false;
      return false;
    });
  });
  return clean;
}

async function runTidy() {
  const purposes = ['compile', 'cmake', 'lint'];
  const needs = missing(...purposes);
  if (needs.length > 0 && !canInstall()) {
    say(`clang-tidy is skipped: ${explain(needs)}`);
    return true;
  }
  setUp(...purposes);
  say('clang-tidy ...');
  return tidy();
}

/** The names of those that complain, one after the other. */
async function runTools() {
  const failed = [];
  for (const name of Object.keys(tools)) if (!(await run(name))) failed.push(name);
  return failed;
}

await main(async () => {
  setUp();
  // Each of the tools keeps one processor busy.
  const [failed, tidy] = await Promise.all([runTools(), fix || runTidy()]);
  if (!tidy) failed.push('clang-tidy');
  if (failed.length > 0) throw new Failure(`${failed.join(', ')} failed, see above.`);
  say('nothing to complain about.');
});
