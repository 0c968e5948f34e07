import { keepsBucket } from '../conntrack-options.js';
import { fromNative, native } from '../native.js';
import type { ResolvedOptions } from '../options.js';
import { netnsPath } from './exec.js';
import { isMadeOf, parseMarkers } from './markers.js';
import { isClean, type Traces } from './traces.js';

/** Whether rules that stand, and are to be replaced, may give connections buckets by another hash. */
export const givesOtherBuckets = (options: ResolvedOptions, traces: Traces): boolean =>
  keepsBucket(options) &&
  !isClean(traces) &&
  !isMadeOf(options, parseMarkers(traces.nftChains ?? []));

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
