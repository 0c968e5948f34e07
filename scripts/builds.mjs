/* The three builds; each does nothing if nothing has changed. */
import { chmodSync, existsSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { once } from './fingerprint.mjs';
import { nodeGypCommand, root } from './node-gyp.mjs';
import { step } from './steps.mjs';

const NATIVE = ['native', 'binding.gyp', 'package-lock.json'];

/** build/Release/nfq_cluster.node, by node-gyp. */
export function buildAddon() {
  const output = 'build/Release/nfq_cluster.node';
  return once('node-gyp', { inputs: NATIVE, output }, () => {
    const { file, args, options } = nodeGypCommand();
    step('building the addon (node-gyp)', file, args, options);
  });
}

/** native/build: the addon by cmake-js, the native tests, the helpers of tests and benchmarks. */
export function buildWithCMake() {
  const inputs = [...NATIVE, 'test/native', 'bench/native'];
  const output = 'native/build/Release/nfq_cluster.node';
  return once('cmake-js', { inputs, output }, () => {
    forgetMovedBuild('native/build');
    const where = ['--directory', 'native', '--out', 'native/build', '--prefer-make'];
    const parallel = ['--parallel', String(os.availableParallelism())];
    const program = path.join(root, 'node_modules/cmake-js/bin/cmake-js');
    step(
      'building the addon, the native tests and benchmarks (cmake-js)',
      process.execPath,
      [program, 'build', ...where, ...parallel],
      { cwd: root },
    );
  });
}

/** CMake refuses to build where another folder's build was copied to: removes such a build. */
export function forgetMovedBuild(directory) {
  const cache = path.join(root, directory, 'CMakeCache.txt');
  const home = `CMAKE_HOME_DIRECTORY:INTERNAL=${path.join(root, 'native')}\n`;
  if (existsSync(cache) && !readFileSync(cache, 'utf8').includes(home)) {
    rmSync(path.dirname(cache), { recursive: true });
  }
}

/** dist, by the TypeScript compiler. */
export function buildTypeScript() {
  const inputs = ['src', 'tsconfig.json', 'tsconfig.build.json', 'package-lock.json'];
  return once('typescript', { inputs, output: 'dist/index.js' }, compileTypeScript);
}

export function compileTypeScript() {
  rmSync(path.join(root, 'dist'), { recursive: true, force: true });
  const tsc = path.join(root, 'node_modules/typescript/bin/tsc');
  step('compiling TypeScript', process.execPath, [tsc, '--project', 'tsconfig.build.json'], {
    cwd: root,
  });
  chmodSync(path.join(root, 'dist/cli/main.js'), 0o755);
}
