import { invalidOption } from '../errors.js';
import type { Policy, ResolvedInterface, Rules } from './types.js';

/** How the engine learns a connection's original direction, and its master; see `Options.conntrack`. */
export type ConntrackSource = 'queue' | 'netlink' | 'mark' | 'off';

/** What the kernel decides by itself; see `Options.offload`. */
export type Offload = 'flows' | 'sources';

interface Given {
  conntrack?: 'auto' | ConntrackSource | undefined;
  offload?: readonly Offload[] | undefined;
}

interface Surroundings {
  policy: Policy;
  interfaces: readonly ResolvedInterface[];
  rules: Rules;
}

interface ResolvedConntrack {
  conntrack: 'auto' | ConntrackSource;
  offload: readonly Offload[];
}

/**
 * How connections are followed, `off` where a packet is decided by its own header alone; and what of them
 * is left to the kernel.
 * @throws NfqClusterError `ERR_INVALID_OPTION`
 */
export function resolveConntrack(given: Given, around: Surroundings): ResolvedConntrack {
  const { conntrack = 'auto', offload = [] } = given;
  const stateless = statelessness(around);
  if (stateless !== undefined && conntrack !== 'auto' && conntrack !== 'off') {
    throw invalidOption('conntrack', '"auto" or "off"', conntrack, stateless);
  }
  const resolved = stateless === undefined ? conntrack : 'off';
  if (resolved === 'off') refuseStateless(offload, around.policy, stateless);
  if (around.rules === 'none') refuseWithoutRules(conntrack, offload);
  return { conntrack: resolved, offload: [...offload] };
}

/** Whether the rules keep a connection's bucket in its connmark. */
export const keepsBucket = ({ conntrack, offload }: ResolvedConntrack): boolean =>
  conntrack === 'mark' || (conntrack !== 'off' && offload.length > 0);

/**
 * Whether what helpers announce must be heard. Not where connmarks keep buckets: the connection that a helper
 * awaits inherits its master's.
 */
export const hearsExpectations = (options: ResolvedConntrack & { helpers: boolean }): boolean =>
  options.helpers && !keepsBucket(options);

/** Why the packet's own header alone gives the key; undefined if its connection does. */
function statelessness({ policy, interfaces }: Surroundings): string | undefined {
  if (policy === 'clusterip') return "Policy 'clusterip' hashes every packet by its own header.";
  const inside = interfaces.find(({ key }) => key === 'destination');
  if (inside === undefined) return undefined;
  return `A gateway with key 'destination' (${inside.name}) hashes every packet by its own header.`;
}

/** Without connections only `sources` is possible: a packet's address is then the whole key. */
function refuseStateless(
  offload: readonly Offload[],
  policy: Policy,
  stateless: string | undefined,
): void {
  const remedy = stateless ?? "Set conntrack to 'auto'.";
  if (policy === 'clusterip' && offload.length > 0) {
    throw invalidOption('offload', "an empty list with policy 'clusterip'", offload, remedy);
  }
  if (offload.includes('flows')) {
    throw invalidOption('offload', '"sources" alone where conntrack is off', offload, remedy);
  }
}

/** Both depend on rules that agree with the engine in every detail, which no user could maintain. */
function refuseWithoutRules(conntrack: string, offload: readonly Offload[]): void {
  const remedy = "Set rules to something other than 'none': the rules have to store the bucket.";
  if (conntrack === 'mark') {
    throw invalidOption(
      'conntrack',
      'something other than "mark" where rules is "none"',
      'mark',
      remedy,
    );
  }
  if (offload.length > 0) {
    throw invalidOption('offload', 'an empty list where rules is "none"', offload, remedy);
  }
}
