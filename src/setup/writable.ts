import { NfqClusterError } from '../errors.js';
import { failure, isRefused, run } from './exec.js';
import type { Step } from './step.js';

/** Opens each file for writing, which does not change a kernel parameter. */
const OPEN = 'for file; do : >>"$file" || exit; done';

/**
 * Asks whether the kernel parameters that steps set can be written. In a container /proc/sys often cannot.
 * @throws NfqClusterError `ERR_READ_ONLY`, `ERR_PRIVILEGE`, and what `run` throws
 */
export async function checkWritable(
  steps: readonly Step[],
  netns: string | undefined,
): Promise<void> {
  const settings = steps
    .filter(({ program, inPlace }) => program === 'sysctl' && !inPlace)
    .map(({ args }) => args.at(-1)!);
  if (settings.length === 0) return;
  const files = settings.map((setting) => `/proc/sys/${setting.split('=')[0]!}`);
  const outcome = await run('sh', ['-c', OPEN, 'sh', ...files], { netns });
  if (outcome.stderr.includes('Read-only file system')) throw readOnly(settings, outcome.stderr);
  if (isRefused(outcome)) throw failure('set kernel parameters', 'sh', outcome);
}

function readOnly(settings: readonly string[], stderr: string): NfqClusterError {
  const [found = '/proc/sys'] = /\/proc\/sys\/[^\s:]+/.exec(stderr) ?? [];
  return new NfqClusterError('ERR_READ_ONLY', `The kernel parameter ${found} cannot be written`, {
    expected: 'a writable /proc/sys, or all of these already set',
    found: 'a read-only file system',
    remedy: `Set ${settings.join(', ')} from outside (docker run --sysctl, or nsenter on the host), then try again: what is already set is not written`,
  });
}
