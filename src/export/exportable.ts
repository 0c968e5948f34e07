import { invalidOption, NfqClusterError } from '../errors.js';
import type { Status } from '../control/status.js';
import type { Policy, ResolvedInterface, ResolvedOptions } from '../options.js';

/** What a configuration says that rules of other programs can say, or not. */
export type Exportable = Pick<
  ResolvedOptions,
  'hashSeed' | 'buckets' | 'classic' | 'owned' | 'validFor' | 'action' | 'conntrack'
> & {
  interfaces: readonly (Pick<ResolvedInterface, 'name' | 'key'> &
    Partial<Pick<ResolvedInterface, 'addresses' | 'destinations' | 'mac'>>)[];
  policy: Policy;
  /** Of policy `clusterip`. */
  hashMode?: string;
  marks: Pick<ResolvedOptions['marks'], 'owned'>;
};

/**
 * What a running engine says of itself, as what can be exported.
 * @throws NfqClusterError `ERR_INVALID_OPTION`
 */
export function ofStatus(status: Status): Exportable {
  if ((status as Partial<Status> | null | undefined)?.ownedBuckets === undefined) {
    throw invalidOption('status', 'what Control.status() gives', status);
  }
  return {
    policy: status.policy,
    ...(status.hashMode === null ? {} : { hashMode: status.hashMode }),
    hashSeed: status.hashSeed,
    buckets: status.buckets,
    classic: status.nodes !== null,
    owned: status.ownedBuckets,
    validFor: status.validFor ?? Infinity,
    interfaces: status.interfaces,
    action: status.action,
    conntrack: status.conntrack.source,
    marks: { owned: status.ownedMark },
  };
}

/**
 * Whether each packet is decided by its own header, as always where the destination is hashed: no rule may ask
 * for its connection.
 */
export const isStateless = ({ conntrack, interfaces }: Exportable): boolean =>
  conntrack === 'off' || interfaces.some(({ key }) => key === 'destination');

/** @throws NfqClusterError `ERR_NOT_EXPORTABLE` where rules would have to tell addresses apart */
export const requireAllDestinations = ({ interfaces }: Exportable): void =>
  requireThat(
    interfaces.every(({ destinations }) => destinations !== 'addresses'),
    'An interface decides packets to its cluster addresses alone, and these rules decide all that enters',
    "Set its destinations to 'all'",
  );

/** @throws NfqClusterError `ERR_NOT_EXPORTABLE` */
export const requireThat = (holds: boolean, reason: string, remedy?: string): void => {
  if (holds) return;
  throw new NfqClusterError('ERR_NOT_EXPORTABLE', reason, remedy === undefined ? {} : { remedy });
};

/** ICMPv6 that every node answers for itself: neighbour and multicast listener discovery. */
export const DISCOVERY = [130, 131, 132, 133, 134, 135, 136, 137, 143];
