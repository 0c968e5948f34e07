import { HASH_MODES } from '../options/checks.js';
import type { HashMode } from '../options/types.js';
import { isClusterMac, parseClusterAddress } from '../options/shared.js';
import { Refusal } from './notes.js';
import { optionNamed, optionsOf, unsigned, type Rule, type RuleOption } from './rule.js';

/** A cluster address, as the rule that made it says. */
export interface ClusteripConfig {
  address: string;
  interfaceName: string;
  mac: string;
  hashMode: HashMode;
  totalNodes: number;
  localNode: number;
  hashSeed: number;
}

const MANDATORY = ['--new', '--hashmode', '--clustermac', '--total-nodes', '--local-node'];

/**
 * The cluster address that a rule makes, or the one that it uses again, with the refusals of iptables and of
 * the kernel.
 * @param known those of earlier rules, by address
 */
export function parseClusterip(
  rule: Rule,
  known: ReadonlyMap<string, ClusteripConfig>,
): ClusteripConfig {
  const options = parametersOf(rule);
  const address = addressOf(rule);
  const before = known.get(address);
  if (options.size === 0) {
    // Without options the rule says a MAC of zeros, which the kernel compares.
    throw before === undefined
      ? new Refusal(`CLUSTERIP: no config found for ${address}, need 'new'`)
      : alreadyThere(before);
  }
  if (MANDATORY.some((name) => !options.has(name))) {
    throw new Refusal('CLUSTERIP: Invalid parameter combination');
  }
  const made = { address, interfaceName: interfaceOf(rule), ...valuesOf(options) };
  if (before === undefined) {
    requireSame(made, [...known.values()]);
    return made;
  }
  if (before.mac === made.mac) return before;
  throw alreadyThere(before);
}

const alreadyThere = ({ address, mac }: ClusteripConfig): Refusal =>
  new Refusal(`CLUSTERIP: ${address} exists already with the MAC ${mac}`);

/** On one interface there is one configuration here, with one MAC, for all its addresses. */
function requireSame(made: ClusteripConfig, others: readonly ClusteripConfig[]): void {
  const named = ['mac', 'hashMode', 'totalNodes', 'localNode', 'hashSeed'] as const;
  for (const other of others.filter(({ interfaceName }) => interfaceName === made.interfaceName)) {
    const differs = named.find((name) => other[name] !== made[name]);
    if (differs === undefined) continue;
    throw new Refusal(
      `CLUSTERIP: ${made.address} differs in ${differs} from ${other.address}, but all addresses of ${made.interfaceName} share alike here: give it another interface`,
    );
  }
}

function parametersOf(rule: Rule): Map<string, RuleOption> {
  const found = new Map<string, RuleOption>();
  for (const option of optionsOf(rule, '--jump', 'CLUSTERIP')) {
    const { name, negated } = option;
    if (![...MANDATORY, '--hash-init'].includes(name)) continue;
    if (found.has(name)) throw new Refusal(`CLUSTERIP: option "${name}" can only be used once`);
    if (negated) throw new Refusal(`CLUSTERIP: option "${name}" cannot be inverted`);
    found.set(name, option);
  }
  return found;
}

function valuesOf(
  options: ReadonlyMap<string, RuleOption>,
): Omit<ClusteripConfig, 'address' | 'interfaceName'> {
  const text = (name: string): string | undefined => options.get(name)?.values[0];
  const hashMode = HASH_MODES.find((mode) => mode === text('--hashmode'));
  if (hashMode === undefined) {
    throw new Refusal(`CLUSTERIP: Unknown hashmode ${JSON.stringify(text('--hashmode') ?? '')}`);
  }
  const mac = (text('--clustermac') ?? '').toLowerCase().replace(/\b[0-9a-f]\b/g, '0$&');
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(mac)) {
    throw new Refusal(`CLUSTERIP: invalid MAC ${JSON.stringify(mac)}`);
  }
  if ((parseInt(mac, 16) & 1) === 0) {
    throw new Refusal('CLUSTERIP: MAC has to be a multicast ethernet address');
  }
  if (!isClusterMac(mac)) throw new Refusal('CLUSTERIP: the broadcast MAC is for every machine');
  const totalNodes = unsigned('--total-nodes', text('--total-nodes'), 0, 16);
  const localNode = unsigned('--local-node', text('--local-node'), 0, 16);
  if (localNode === 0) throw new Refusal('CLUSTERIP: the kernel refuses local node 0');
  const hashSeed = options.has('--hash-init')
    ? unsigned('--hash-init', text('--hash-init'), 0, 0xffff_ffff)
    : 0;
  return { mac, hashMode, totalNodes, localNode, hashSeed };
}

function addressOf(rule: Rule): string {
  if (rule.program !== 'iptables') throw new Refusal('CLUSTERIP: for IPv4 alone');
  const option = optionNamed(rule, '--destination');
  const [address, mask = '32'] = (option?.values[0] ?? '').split('/') as [string, string?];
  if (
    option?.negated !== false ||
    !/^\d+(\.\d+){3}$/.test(address) ||
    !['32', '255.255.255.255'].includes(mask)
  ) {
    throw new Refusal('CLUSTERIP: the destination must be one address (/32)');
  }
  if (parseClusterAddress(`${address}/32`) === undefined) {
    throw new Refusal(`CLUSTERIP: ${address} is no unicast address`);
  }
  return address;
}

function interfaceOf(rule: Rule): string {
  const option = optionNamed(rule, '--in-interface');
  const [name] = option?.values ?? [];
  if (name !== undefined && name !== '' && !option!.negated && !name.endsWith('+')) return name;
  throw new Refusal('CLUSTERIP: Please specify an interface name');
}
