import { constants } from 'node:os';
import { NfqClusterError } from '../errors.js';
import { tryWriting } from './kernel-files.js';
import { isRefusal, notPermitted, type Setting, type Step } from './step.js';

/**
 * Asks whether the kernel parameters that steps set can be written. In a container /proc/sys often cannot.
 * @throws NfqClusterError `ERR_READ_ONLY`, `ERR_PRIVILEGE`, and what `readSysctls` throws
 */
export async function checkWritable(
  steps: readonly Step[],
  netns: string | undefined,
): Promise<void> {
  const settings = steps.flatMap(({ setting, inPlace }) =>
    setting === undefined || inPlace ? [] : [setting],
  );
  if (settings.length === 0) return;
  const names = settings.map(({ name }) => name);
  const errors = await tryWriting(names, netns);
  const readOnly = errors.indexOf(constants.errno.EROFS);
  if (readOnly !== -1) throw onlyRead(names[readOnly]!, settings);
  if (errors.some(isRefusal)) throw notPermitted('set kernel parameters');
}

function onlyRead(name: string, settings: readonly Setting[]): NfqClusterError {
  const all = settings.map((setting) => `net/${setting.name}=${setting.value}`).join(', ');
  return new NfqClusterError(
    'ERR_READ_ONLY',
    `The kernel parameter /proc/sys/net/${name} cannot be written`,
    {
      expected: 'a writable /proc/sys, or all of these already set',
      found: 'a read-only file system',
      remedy: `Set ${all} from outside (docker run --sysctl, or nsenter on the host), then try again: what is already set is not written`,
    },
  );
}
