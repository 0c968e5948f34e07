import { z } from 'zod';
import { ascending, inverted, localBuckets, type LocalNodes } from './buckets.js';
import { check, integer, integers, isInteger, U32 } from './checks.js';
import { invalidOption } from '../errors.js';
import { MAX_BUCKETS, MAX_CLUSTERIP_NODES, MAX_NODES } from './limits.js';
import type { Share } from './types.js';
import { parse } from './parse.js';

/** A hundred years: from there on, the engine has no deadline. */
const NEVER_MS = 3.2e12;

/** How long something is owned. */
const milliseconds = check<number>(
  'a positive number of milliseconds, or Infinity',
  (value) => typeof value === 'number' && value > 0,
);

const ownershipInput = z.strictObject(
  {
    buckets: integers(0, MAX_BUCKETS - 1, 0).optional(),
    nodes: integers(1, MAX_NODES, 0).optional(),
    validFor: milliseconds.optional(),
  },
  'an object with buckets or nodes',
);

/** The options of own(). */
export const howLong = z.strictObject(
  { validFor: milliseconds.optional() },
  'an object with validFor',
);

const TOTAL_NODES = `an integer from 1 to ${MAX_NODES}`;

/** The options that say how many buckets there are, and which of them are owned. */
export const shareSchema = {
  totalNodes: check<number>(TOTAL_NODES, (value) => isInteger(value, 0, MAX_NODES)).optional(),
  buckets: integer(1, MAX_BUCKETS).optional(),
  localNode: z
    .union(
      [integer(1, MAX_NODES), integers(1, MAX_NODES, 1)],
      `a node number from 1 to ${MAX_NODES}, or a list of different ones`,
    )
    .optional(),
  localNodemask: integer(1, U32).optional(),
  invert: z.boolean('true or false').optional(),
  ownership: ownershipInput.optional(),
};

interface Given extends LocalNodes {
  totalNodes?: number | undefined;
  buckets?: number | undefined;
  invert?: boolean | undefined;
  ownership?: unknown;
}

/** The number of buckets, and which of them are owned at the start. */
export function resolveShare(options: Given): Share {
  const { totalNodes, localNode, localNodemask, ownership } = options;
  const strict = options.strict === true;
  checkTotalNodes(totalNodes, strict);
  // As the original, which gives every packet to node 1 of no nodes.
  const buckets = totalNodes === 0 ? 1 : (totalNodes ?? options.buckets);
  if (buckets === undefined || (totalNodes !== undefined && options.buckets !== undefined)) {
    throw invalidOption('totalNodes', 'either totalNodes or buckets', {
      totalNodes,
      buckets: options.buckets,
    });
  }
  const classic = totalNodes !== undefined;
  const ways = [localNode, localNodemask, ownership].filter((way) => way !== undefined).length;
  if (ways !== 1 || (!classic && ownership === undefined)) {
    const expected = classic
      ? 'exactly one of localNode, localNodemask and ownership'
      : 'ownership, without localNode and localNodemask, where buckets is given';
    throw invalidOption(classic ? 'localNode' : 'ownership', expected, {
      localNode,
      localNodemask,
      ownership,
    });
  }
  const share =
    ownership === undefined
      ? { owned: localBuckets(options, buckets), validFor: Infinity }
      : resolveOwnership(ownership, buckets, classic);
  if (options.invert === true && ownership !== undefined) {
    throw invalidOption('invert', 'nothing', true, 'With ownership, name what is owned directly.');
  }
  const owned = options.invert === true ? inverted(share.owned, buckets) : share.owned;
  return { buckets, classic, owned, validFor: share.validFor };
}

export function checkTotalNodes(totalNodes: number | undefined, strict = false): void {
  if (totalNodes === undefined) return;
  if (strict && totalNodes > MAX_CLUSTERIP_NODES) {
    const expected = `at most ${MAX_CLUSTERIP_NODES} (with strict)`;
    throw invalidOption('totalNodes', expected, totalNodes);
  }
  if (!strict && totalNodes === 0) throw invalidOption('totalNodes', TOTAL_NODES, totalNodes);
}

/**
 * Checks a change of ownership against the engine's bucket count.
 * @throws NfqClusterError `ERR_INVALID_OPTION`
 */
export function resolveOwnership(
  input: unknown,
  buckets: number,
  classic: boolean,
): Pick<Share, 'owned' | 'validFor'> {
  const ownership = parse(ownershipInput, input, 'ownership');
  if ((ownership.buckets === undefined) === (ownership.nodes === undefined)) {
    throw invalidOption('ownership', 'either buckets or nodes', input);
  }
  if (ownership.nodes !== undefined && !classic) {
    throw invalidOption(
      'ownership.nodes',
      'nothing',
      ownership.nodes,
      'With the option buckets, name what is owned by ownership.buckets.',
    );
  }
  const owned = ownership.buckets ?? ownership.nodes!.map((node) => node - 1);
  if (owned.some((bucket) => bucket >= buckets)) {
    throw ownership.buckets === undefined
      ? invalidOption('ownership.nodes', `nodes from 1 to ${buckets} (totalNodes)`, ownership.nodes)
      : invalidOption('ownership.buckets', `buckets from 0 to ${buckets - 1}`, ownership.buckets);
  }
  const { validFor = Infinity } = ownership;
  return { owned: ascending(owned), validFor: validFor < NEVER_MS ? validFor : Infinity };
}
