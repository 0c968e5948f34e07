/* npm's install script: takes a prebuilt addon if there is one that loads, else builds it. */
import { spawnSync } from 'node:child_process';
import console from 'node:console';
import { createRequire } from 'node:module';
import process from 'node:process';
import { nodeGypCommand, root } from './node-gyp.mjs';
import { explain, missing } from './packages.mjs';

/** Whether node-gyp-build finds an addon for this system. */
function isBuilt() {
  const probe = createRequire(import.meta.url).resolve('node-gyp-build/build-test.js');
  return spawnSync(process.execPath, [probe], { cwd: root }).status === 0;
}

function build() {
  const needs = missing('compile', 'node-gyp');
  if (needs.length > 0) {
    console.error(`nfq-cluster: ${explain(needs)}`);
    return 1;
  }
  const { file, args, options } = nodeGypCommand();
  return spawnSync(file, args, { ...options, stdio: 'inherit' }).status ?? 1;
}

const fromSource = process.env.npm_config_build_from_source === 'true';
process.exitCode = !fromSource && isBuilt() ? 0 : build();
