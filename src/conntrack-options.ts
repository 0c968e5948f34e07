import { invalidOption } from './errors.js';
import type { Policy, ResolvedInterface, Rules } from './options.js';

/** What tells the original direction of a packet's connection, and its master. */
export type ConntrackSource = 'queue' | 'netlink' | 'mark' | 'off';

interface Surroundings {
  policy: Policy;
  interfaces: readonly ResolvedInterface[];
  rules: Rules;
}

/**
 * How connections are followed; `off` where a packet is decided by its own header alone.
 * @throws NfqClusterError `ERR_INVALID_OPTION`
 */
export function resolveConntrack(
  conntrack: 'auto' | ConntrackSource = 'auto',
  around: Surroundings,
): 'auto' | ConntrackSource {
  const stateless = statelessness(around);
  if (stateless !== undefined && conntrack !== 'auto' && conntrack !== 'off') {
    throw invalidOption('conntrack', '"auto" or "off"', conntrack, stateless);
  }
  if (around.rules === 'none' && conntrack === 'mark') {
    throw invalidOption(
      'conntrack',
      'another than "mark" where rules is "none"',
      'mark',
      "Set rules to 'auto', 'nft' or 'xtables': it needs rules that store the bucket.",
    );
  }
  return stateless === undefined ? conntrack : 'off';
}

/** Why the packet's own header alone gives the key; undefined if its connection does. */
function statelessness({ policy, interfaces }: Surroundings): string | undefined {
  if (policy === 'clusterip') return "Policy 'clusterip' hashes every packet by its own header.";
  const inside = interfaces.find(({ key }) => key === 'destination');
  if (inside === undefined) return undefined;
  return `A gateway with key 'destination' (${inside.name}) hashes every packet by its own header.`;
}
