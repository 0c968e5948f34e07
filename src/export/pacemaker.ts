import { isIPv4 } from 'node:net';
import type { ClusterAddress } from '../options/types.js';
import { requireThat, type Exportable } from './exportable.js';

/**
 * The parameters of `ocf:heartbeat:IPaddr2` as a globally unique clone, one NAME=VALUE a line. Which node owns
 * what is then Pacemaker's to say: the shares are instances, and wander.
 * @param given the cluster's address; else the one that the configuration has
 * @throws NfqClusterError `ERR_NOT_EXPORTABLE`
 */
export function pacemakerParameters(from: Exportable, given: string | undefined): string {
  const { policy, hashMode, buckets, classic, hashSeed, interfaces, action, validFor } = from;
  requireThat(
    policy === 'clusterip',
    `IPaddr2 shares an address by CLUSTERIP, which does not hash as policy ${policy} does`,
  );
  requireThat(hashSeed === 0, 'IPaddr2 always hashes with the seed 0');
  requireThat(
    buckets <= 16 && classic,
    'IPaddr2 has at most 16 nodes, and no fine-grained buckets',
  );
  requireThat(interfaces.length === 1, 'IPaddr2 has one interface for each address');
  const known = onlyAddress(from);
  const address = given ?? known?.address;
  requireThat(action === 'drop', 'IPaddr2 has no marks');
  requireThat(validFor === Infinity, 'IPaddr2 cannot have a deadline, but this ownership has one');
  requireThat(
    address !== undefined && isIPv4(address),
    'IPaddr2 needs the address that is shared, and it must be IPv4',
    'Name it by --address',
  );
  return [
    `ip=${address!}`,
    ...(known?.address === address ? [`cidr_netmask=${known!.prefix}`] : []),
    `nic=${interfaces[0]!.name}`,
    ...(interfaces[0]!.mac === undefined ? [] : [`mac=${interfaces[0]!.mac}`]),
    `clusterip_hash=${hashMode ?? 'sourceip'}`,
    'meta globally-unique=true',
    `meta clone-max=${buckets}`,
    `meta clone-node-max=${buckets}`,
    '',
  ].join('\n');
}

function onlyAddress({ interfaces: [first] }: Exportable): ClusterAddress | undefined {
  const { addresses = [] } = first!;
  return addresses.length === 1 ? addresses[0] : undefined;
}
