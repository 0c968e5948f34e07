import { fromNative, native } from '../native.js';
import type { ResolvedOptions } from '../options.js';
import { netnsPath } from './exec.js';

/**
 * Clears the buckets in the connmarks of all connections.
 * @throws NfqClusterError `ERR_NO_CONNTRACK`, `ERR_PRIVILEGE`, `ERR_NO_NETNS`, `ERR_SYSTEM`
 */
export async function forgetBuckets({ marks, netns }: ResolvedOptions): Promise<void> {
  try {
    await native.clearConnmarks(netns === undefined ? '' : netnsPath(netns), marks.bucket);
  } catch (error) {
    throw fromNative(error);
  }
}
