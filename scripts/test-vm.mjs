/*
 * npm run test:vm: boots a Debian kernel 6.1 in a virtual machine, whose target CLUSTERIP is the judge of
 * the policy clusterip. Needs root and the packages of Debian 12. See test/vm.
 */
import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { buildAddon, buildTypeScript, buildWithCMake } from './builds.mjs';
import { root } from './node-gyp.mjs';
import { setUp } from './setup.mjs';
import { Failure, foreground, main, say } from './steps.mjs';

const TESTS = ['test/vm/clusterip.vm.ts'];

function prepareKernel() {
  say('preparing the kernel of the virtual machine ...');
  const { status, stdout } = spawnSync('test/vm/build', process.argv.slice(2), {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (status !== 0) throw new Failure('The virtual machine cannot be prepared, see above.');
  return stdout.trim();
}

await main(async () => {
  setUp('compile', 'node-gyp', 'cmake', 'run');
  await buildAddon();
  await buildWithCMake();
  await buildTypeScript();
  const kernel = prepareKernel();
  say(`booting ${kernel} ...`);
  const node = [process.execPath, '--import', 'tsx', '--test', '--test-concurrency=1'];
  const args = [kernel, ...node, '--test-timeout=900000', ...TESTS];
  return foreground('test/vm/run', args, { cwd: root });
});
