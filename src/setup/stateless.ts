import type { ResolvedOptions } from '../options.js';
import { isClusterip } from './clusterip.js';

/**
 * Whether a packet is decided by its own header alone, so that the rules need no conntrack: without it the
 * kernel does not put fragments together either, and each is decided by its addresses.
 */
export const isStateless = (options: Pick<ResolvedOptions, 'policy' | 'interfaces'>): boolean =>
  !isClusterip(options) && options.interfaces.some(({ key }) => key === 'destination');
