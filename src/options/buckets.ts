import { invalidOption } from '../errors.js';
import { MAX_CLUSTERIP_NODES } from './limits.js';

export interface LocalNodes {
  localNode?: number | readonly number[] | undefined;
  localNodemask?: number | undefined;
  strict?: boolean | undefined;
}

/** The buckets of the nodes that are local. @throws NfqClusterError `ERR_INVALID_OPTION` */
export function localBuckets(
  { localNode, localNodemask, strict }: LocalNodes,
  totalNodes: number,
): number[] {
  if (localNodemask !== undefined) {
    if (localNodemask >= 2 ** totalNodes) {
      throw invalidOption(
        'localNodemask',
        `a mask below 2^${totalNodes} (totalNodes)`,
        localNodemask,
      );
    }
    return range(totalNodes).filter((bucket) => ((localNodemask >>> bucket) & 1) === 1);
  }
  const nodes = typeof localNode === 'number' ? [localNode] : localNode!;
  // The original takes a node that does not exist, and owns nothing by it.
  const highest = strict === true ? MAX_CLUSTERIP_NODES : totalNodes;
  if (nodes.some((node) => node > highest)) {
    const why = strict === true ? 'with strict' : 'totalNodes';
    throw invalidOption('localNode', `at most ${highest} (${why})`, localNode);
  }
  return ascending(nodes.map((node) => node - 1).filter((bucket) => bucket < totalNodes));
}

/** `length` consecutive numbers; none if it is not positive. */
export const range = (length: number, first = 0): number[] =>
  Array.from({ length: Math.max(0, length) }, (_, index) => first + index);
export const ascending = (numbers: readonly number[]): number[] =>
  [...numbers].sort((a, b) => a - b);
export const inverted = (owned: readonly number[], buckets: number): number[] =>
  range(buckets).filter((bucket) => !owned.includes(bucket));
