import { isIP, SocketAddress } from 'node:net';
import { z } from 'zod';
import { check, oneOf } from './checks.js';
import { invalidOption } from '../errors.js';
import type { ClusterAddress, Destinations, Shared } from './types.js';

/** The options of an interface that say what the nodes share on it. */
export const sharedSchema = {
  addresses: z
    .array(
      check<string>(
        'a unicast address with its prefix length, such as 192.0.2.10/24',
        (value) => typeof value === 'string' && parseClusterAddress(value) !== undefined,
      ),
      'a list of addresses',
    )
    .optional(),
  mac: check<string>(
    'a multicast MAC, whose first octet is odd, such as 03:00:c0:00:02:0a',
    (value) => typeof value === 'string' && isClusterMac(value),
  ).optional(),
  group: check<string>(
    'an IPv4 multicast group outside 224.0.0.0/24, such as 239.192.2.10',
    (value) => typeof value === 'string' && isGroup(value),
  ).optional(),
  destinations: oneOf<Destinations>('all', 'addresses').optional(),
};

/** As a user gives it, each field checked for itself. */
interface SharedInput {
  name: string;
  addresses?: readonly string[] | undefined;
  mac?: string | undefined;
  group?: string | undefined;
  destinations?: Destinations | undefined;
}

/** `192.0.2.10/24` or `2001:db8::10/64`, or undefined where it is no unicast address with a prefix length. */
export function parseClusterAddress(text: string): ClusterAddress | undefined {
  const [, address = '', length = ''] = /^([^/%]+)\/(\d{1,3})$/.exec(text) ?? [];
  const family = isIP(address);
  if (family === 0) return undefined;
  const prefix = Number(length);
  if (prefix < 1 || prefix > (family === 4 ? 32 : 128)) return undefined;
  const canonical = new SocketAddress({ address, family: family === 4 ? 'ipv4' : 'ipv6' }).address;
  const special = family === 4 ? /^(0|127|22[4-9]|2[34]\d|25[0-5])\./ : /^(::|ff|fe[89ab])/;
  return special.test(canonical)
    ? undefined
    : { address: canonical, prefix, family: family === 4 ? 4 : 6 };
}

/** A MAC with the multicast bit, which is not broadcast. */
export const isClusterMac = (text: string): boolean =>
  /^[0-9a-f][13579bdf](:[0-9a-f]{2}){5}$/i.test(text) && !/^ff(:ff){5}$/i.test(text);

/** An IPv4 group that a switch learns: not of 224.0.0.0/24, whose frames it floods. */
const isGroup = (text: string): boolean =>
  isIP(text) === 4 && /^(22[4-9]|23\d)\./.test(text) && !text.startsWith('224.0.0.');

/** The MAC that frames for an IPv4 group carry (RFC 1112). */
function groupMac(group: string): string {
  const [, second, third, fourth] = group.split('.').map(Number) as [
    number,
    number,
    number,
    number,
  ];
  return ['01:00:5e', ...[second & 0x7f, third, fourth].map(octet)].join(':');
}

/**
 * What the nodes share on each interface.
 * @param byDefault which packets are the cluster's where addresses are given and nothing else is said
 * @throws NfqClusterError `ERR_INVALID_OPTION`
 */
export function resolveShared(
  interfaces: readonly SharedInput[],
  byDefault: Destinations,
): Shared[] {
  const all = interfaces.flatMap(({ addresses = [] }) => addresses.map(canonical));
  const twice = all.find((address, at) => all.indexOf(address) !== at);
  if (twice !== undefined) throw invalidOption('interfaces', 'each cluster address once', twice);
  return interfaces.map((entry, at) => resolveOne(entry, `interfaces.${at}`, byDefault));
}

function resolveOne(
  { addresses = [], mac: given, group, destinations: wanted }: SharedInput,
  option: string,
  byDefault: Destinations,
): Shared {
  const mac = given?.toLowerCase() ?? (group === undefined ? undefined : groupMac(group));
  if (addresses.length > 0 && mac === undefined) {
    throw invalidOption(
      `${option}.mac`,
      'a cluster MAC, or a group, where there are cluster addresses',
      given,
      'Without it every node would answer for the address with a MAC of its own.',
    );
  }
  if (group !== undefined && mac !== groupMac(group)) {
    throw invalidOption(`${option}.mac`, `${groupMac(group)}, the MAC of group ${group},`, given);
  }
  if (wanted === 'addresses' && addresses.length === 0) {
    throw invalidOption(
      `${option}.destinations`,
      "'all' where there are no cluster addresses",
      wanted,
      'Otherwise no packet would be decided.',
    );
  }
  return {
    addresses: addresses.map((text) => parseClusterAddress(text)!),
    mac,
    group,
    destinations: wanted ?? (addresses.length === 0 ? 'all' : byDefault),
  };
}

const canonical = (text: string): string => parseClusterAddress(text)!.address;
const octet = (number: number): string => number.toString(16).padStart(2, '0');
