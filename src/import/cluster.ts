import { inverted, localBuckets } from '../options/buckets.js';
import { U32 } from '../options/checks.js';
import { Refusal } from './notes.js';
import { unsigned, type RuleOption } from './rule.js';

/** What a `-m cluster` matches: buckets from 0, the inversion applied. */
export interface ClusterMatch {
  totalNodes: number;
  hashSeed: number;
  matched: number[];
  inverted: boolean;
  /** It was given as a mask, and as one that iptables itself takes no more: of node 7 and above. */
  unrestorable: boolean;
  byNode: boolean;
}

const TOTAL = '--cluster-total-nodes';
const NODE = '--cluster-local-node';
const MASK = '--cluster-local-nodemask';
const SEED = '--cluster-hash-seed';

/**
 * The options of a cluster match, with the refusals of iptables and of the kernel. But a mask may be above
 * 32: that is what iptables-save writes for node 7, and what iptables-restore refuses.
 */
export function parseCluster(options: readonly RuleOption[]): ClusterMatch {
  const found = new Map<string, RuleOption>();
  for (const option of options.filter(({ name }) => name.startsWith('--cluster-'))) {
    accept(option, found);
  }
  for (const name of [TOTAL, SEED]) {
    if (!found.has(name)) throw new Refusal(`cluster: option "${name}" must be specified`);
  }
  const value = (name: string, low: number, high: number): number =>
    unsigned(name, found.get(name)?.values[0], low, high);
  const totalNodes = value(TOTAL, 1, 32);
  const hashSeed = value(SEED, 0, U32);
  const by = found.has(NODE) ? NODE : MASK;
  if (!found.has(by)) throw new Refusal(`cluster: ${NODE} or ${MASK} is missing`);
  const mask = by === NODE ? 2 ** (value(NODE, 1, 32) - 1) : value(MASK, 1, U32);
  if (mask >= 2 ** totalNodes) {
    throw new Refusal(
      by === NODE
        ? `cluster: ${NODE} must be lower than or equal to ${TOTAL}`
        : `cluster: ${MASK} is too big for ${TOTAL}`,
    );
  }
  const isInverted = found.get(by)!.negated;
  const local = localBuckets({ localNodemask: mask }, totalNodes);
  return {
    totalNodes,
    hashSeed,
    matched: isInverted ? inverted(local, totalNodes) : local,
    inverted: isInverted,
    unrestorable: by === MASK && mask > 32,
    byNode: by === NODE,
  };
}

function accept(option: RuleOption, found: Map<string, RuleOption>): void {
  const { name, negated, values } = option;
  if (![TOTAL, NODE, MASK, SEED].includes(name)) throw new Refusal(`unknown option "${name}"`);
  if (found.has(name)) throw new Refusal(`cluster: option "${name}" can only be used once`);
  if (negated && name !== NODE && name !== MASK) {
    throw new Refusal(`cluster: option "${name}" cannot be inverted`);
  }
  const other = name === NODE ? MASK : name === MASK ? NODE : undefined;
  if (other !== undefined && found.has(other)) {
    throw new Refusal(`cluster: option "${name}" cannot be used together with "${other}"`);
  }
  if (values.length > 1) throw new Refusal(`Bad argument ${JSON.stringify(values[1])}`);
  found.set(name, option);
}
