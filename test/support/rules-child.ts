/** Chooses a mechanism, installs rules and removes them, and says how that went. For rules-choice.test.ts and setup-status.test.ts. */
import { NfqClusterError } from '../../src/errors.js';
import { resolveOptions } from '../../src/options/resolve.js';
import { chooseMechanism } from '../../src/setup/probe.js';
import { install } from '../../src/setup/setup.js';

try {
  const options = resolveOptions({
    interfaces: ['lo'],
    hashSeed: 1,
    totalNodes: 2,
    localNode: 1,
    ...(JSON.parse(process.argv[2]!) as object),
  });
  const installed = await install(options, await chooseMechanism(options));
  await installed.stopQueueing();
  await installed.remove();
  console.log('installed, removed');
} catch (error) {
  if (!(error instanceof NfqClusterError)) throw error;
  console.log(error.code);
}
