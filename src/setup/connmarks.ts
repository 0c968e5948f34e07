import { fromNative, native } from '../native.js';
import type { ResolvedOptions } from '../option-types.js';
import { netnsPath } from './exec.js';

/**
 * Sets the buckets that connmarks hold again: an earlier engine may have used another hash.
 * @throws NfqClusterError `ERR_NO_CONNTRACK`, `ERR_PRIVILEGE`, `ERR_NO_NETNS`, `ERR_SYSTEM`
 */
export async function renewBuckets(options: ResolvedOptions): Promise<void> {
  const { netns, marks } = options;
  try {
    const path = netns === undefined ? '' : netnsPath(netns);
    await native.renewConnmarks(path, marks.bucket, options);
  } catch (error) {
    throw fromNative(error);
  }
}
