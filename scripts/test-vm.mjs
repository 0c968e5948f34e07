/*
 * npm run test:vm: boots a Debian kernel 6.1 in a virtual machine. Its target CLUSTERIP is the judge of the
 * policy clusterip, its nft has the queue statement, and its queues tell the connection. Needs root and the
 * packages of Debian 12. See test/vm. `npm run test:vm -- WORD...` runs the files with one of the words in
 * their path.
 */
import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { buildAddon, buildTypeScript, buildWithCMake } from './builds.mjs';
import { root } from './node-gyp.mjs';
import { setUp } from './setup.mjs';
import { Failure, foreground, main, say } from './steps.mjs';

const TESTS = [
  'test/vm/clusterip.vm.ts',
  'test/vm/doctor.vm.ts',
  'test/e2e/setup-traffic.test.ts',
  'test/e2e/setup-leaks.test.ts',
  'test/e2e/mixed.test.ts',
  'test/e2e/connections.test.ts',
  'test/e2e/connections-protocols.test.ts',
  'test/e2e/helpers.test.ts',
  'test/e2e/offload.test.ts',
  'test/e2e/offload-sources.test.ts',
  'test/e2e/offload-refused.test.ts',
  'test/e2e/queue-fanout.test.ts',
  'test/e2e/offload-takeover.test.ts',
  'test/e2e/mid-stream.test.ts',
  'test/e2e/rules-gone.test.ts',
  'test/e2e/second-interface.test.ts',
  'test/e2e/setup-conflict.test.ts',
  'test/e2e/gateway-mark.test.ts',
  'test/e2e/mark.test.ts',
  'test/e2e/connmarks.test.ts',
  'test/e2e/bucket-bits.test.ts',
];

function prepareKernel() {
  say('preparing the kernel of the virtual machine ...');
  const { status, stdout } = spawnSync('test/vm/build', [], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (status !== 0) throw new Failure('The virtual machine cannot be prepared, see above.');
  return stdout.trim();
}

/** The files that the arguments choose. */
function chosen() {
  const words = process.argv.slice(2);
  const files = TESTS.filter(
    (file) => words.length === 0 || words.some((word) => file.includes(word)),
  );
  if (files.length === 0)
    throw new Failure(`No file has ${words.join(' or ')} in its path:\n${TESTS.join('\n')}`);
  return files;
}

await main(async () => {
  const files = chosen();
  setUp('compile', 'node-gyp', 'cmake', 'run', 'test');
  await buildAddon();
  await buildWithCMake();
  await buildTypeScript();
  const kernel = prepareKernel();
  for (const test of files) {
    say(`${test}, on ${kernel} ...`);
    // Each file in a process of its own, as the test runner would: but one process less to emulate.
    const status = await foreground(
      'test/vm/run',
      [kernel, process.execPath, '--import', 'tsx', test],
      { cwd: root },
    );
    if (status !== 0) return status;
  }
  return 0;
});
