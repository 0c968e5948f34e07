import type { ResolvedInterface, ResolvedOptions } from '../options/types.js';
import { needsConntrack } from './connections.js';
import type { Command } from './exec.js';
import type { Step } from './step.js';

/**
 * One thing outside the rules that a setup changes. Its nft table records each as a line of text, so that
 * any later run can undo it.
 */
export type Change =
  | {
      kind: 'address' | 'mac' | 'group';
      /** The interface's name. */
      on: string;
      /** Such as `192.0.2.10/24`, `03:00:c0:00:02:0a` or `239.192.2.10`. */
      value: string;
    }
  | {
      kind: 'sysctl';
      /** The kernel parameter below /proc/sys/net, such as `netfilter/nf_conntrack_tcp_loose`. */
      on: string;
      value: string;
      /** The value before. */
      earlier: string;
    };

/** An interface as the kernel has it. */
export interface InterfaceFacts {
  index: number;
  /** Its own MAC; empty where it has none. */
  mac: string;
  /** The interface on which rules see its packets, if they do not on this one. */
  arrivesOn?: string | undefined;
  /** The VRF that it is in, by which what enters passes the rules a second time. */
  vrf?: string | undefined;
  /** Without prefix lengths. */
  addresses: readonly string[];
  /** Those, with prefix lengths, that duplicate address detection has found on another machine: the kernel uses none. */
  duplicates?: readonly string[];
  /** MACs that were added to it by hand. */
  macs: readonly string[];
}

/** The state of a network namespace, as far as a setup changes it. */
export interface SystemFacts {
  interfaces: Readonly<Partial<Record<string, InterfaceFacts>>>;
  /** Below /proc/sys/net; what is not there is left out. */
  sysctls: Readonly<Partial<Record<string, string>>>;
}

/** A change, and why it is made, and why at its place in the order. */
export interface Wanted {
  change: Change;
  why: string;
}

/** There once the kernel's module for connections is loaded. */
export const TCP_LOOSE = 'netfilter/nf_conntrack_tcp_loose';

/** The kernel parameters that a setup of these options may change. */
export function sysctlsOf({ interfaces }: Pick<ResolvedOptions, 'interfaces'>): string[] {
  return [TCP_LOOSE, ...interfaces.flatMap(({ name }) => [noUnicastDrop(name), promote(name)])];
}

/**
 * All changes, in order: first what no neighbour sees, then the MAC, and the addresses last, since from
 * then on the kernel answers for them.
 */
export function wantedChanges(options: ResolvedOptions, { sysctls }: SystemFacts): Wanted[] {
  const { interfaces } = options;
  const settings = interfaces.flatMap(settingsOf);
  const loose = needsConntrack(options) ? [[TCP_LOOSE, '0', LOOSE_WHY] as const] : [];
  return [
    ...[...loose, ...settings].flatMap(([on, value, why]): Wanted[] => {
      const earlier = sysctls[on];
      return earlier === undefined ? [] : [{ change: { kind: 'sysctl', on, value, earlier }, why }];
    }),
    ...interfaces.filter(({ mac }) => mac !== undefined).map(macOf),
    ...interfaces.flatMap(addressesOf),
  ];
}

const LOOSE_WHY =
  'A reply in mid-stream must not count as a new connection: its source would be the wrong end.';

/** Kernel parameters of an interface: name, value, reason. */
function settingsOf({ name, mac, addresses }: ResolvedInterface): [string, string, string][] {
  const settings: [string, string, string][] = [];
  if (mac !== undefined) {
    settings.push([
      noUnicastDrop(name),
      '0',
      'IPv6 would drop every unicast packet in a multicast frame, before any rule sees it.',
    ]);
  }
  if (addresses.some(({ family }) => family === 4)) {
    settings.push([
      promote(name),
      '1',
      'Without it, removing our address would remove later addresses of its subnet as well.',
    ]);
  }
  return settings;
}

function addressesOf({ name, addresses }: ResolvedInterface): Wanted[] {
  return addresses.map(({ address, prefix, family }) => ({
    change: { kind: 'address', on: name, value: `${address}/${prefix}` },
    why:
      family === 4
        ? `${LAST}.`
        : `${LAST}. No duplicate address detection, and deprecated, so as not to be a source: all nodes have it.`,
  }));
}

const LAST = 'Last: from here on the kernel answers for it, and the rules are already in place';

function macOf({ name, mac, group }: ResolvedInterface): Wanted {
  return group === undefined
    ? {
        change: { kind: 'mac', on: name, value: mac! },
        why: 'The interface accepts the frames. After the rules, so that every packet is decided.',
      }
    : {
        change: { kind: 'group', on: name, value: group },
        why: `The interface accepts frames for ${mac!}, and tells switches so by IGMP. After the rules, so that every packet is decided.`,
      };
}

/** Whether a change is made, by whomever. */
export function isInPlace(change: Change, { interfaces, sysctls }: SystemFacts): boolean {
  if (change.kind === 'sysctl') return sysctls[change.on] === change.value;
  const on = interfaces[change.on];
  if (on === undefined) return false;
  return change.kind === 'mac'
    ? on.macs.includes(change.value)
    : on.addresses.includes(change.value.split('/')[0]!) && duplicateOf(change, on) === undefined;
}

/** The address of a change as the interface has it, without using it since another machine has it as well. */
export const duplicateOf = (
  { kind, value }: Pick<Change, 'kind' | 'value'>,
  on: InterfaceFacts | undefined,
): string | undefined =>
  kind === 'address'
    ? on?.duplicates?.find((found) => found.split('/')[0] === value.split('/')[0])
    : undefined;

/** What is wrong with such an address. */
export const unused = (address: string, on: string): string =>
  `${on} has ${address}, but does not use it: duplicate address detection found it on another machine`;

export const isSame = (one: Change, other: Change): boolean =>
  isOfSame(one, other) && (one.kind === 'sysctl' || one.value === other.value);

/** Whether two changes concern the same thing: an interface has an address once, whatever its prefix length. */
export const isOfSame = (one: Change, other: Change): boolean =>
  one.kind === other.kind &&
  one.on === other.on &&
  (one.kind === 'sysctl' || one.value.split('/')[0] === other.value.split('/')[0]);

/** The command that makes a change, or takes it back. */
export function commandOf(change: Change, way: 'do' | 'undo'): Command & Pick<Step, 'setting'> {
  const { kind, on, value } = change;
  const verb = way === 'do' ? 'add' : 'del';
  const ip = (...args: string[]): Command => ({ program: 'ip', args });
  switch (kind) {
    case 'sysctl': {
      const setting = { name: on, value: way === 'do' ? value : change.earlier };
      return { program: 'sysctl', args: ['-w', `net/${on}=${setting.value}`], setting };
    }
    case 'mac':
      return ip('maddress', verb, value, 'dev', on);
    case 'group':
      // Of host scope, so that it never becomes a packet's source.
      return ip('address', verb, `${value}/32`, 'dev', on, ...(way === 'do' ? JOINED : []));
    case 'address':
      return ip('address', verb, value, 'dev', on, ...(way === 'do' ? quietly(value) : []));
  }
}

/** What a change does, for a plan and for an error's message. */
export function purposeOf({ kind, on, value }: Change): string {
  switch (kind) {
    case 'sysctl':
      return `set net/${on} to ${value}`;
    case 'mac':
      return `let ${on} take frames for ${value}`;
    case 'group':
      return `join the group ${value} on ${on}`;
    case 'address':
      return `add ${value} to ${on}`;
  }
}

export const asText = (change: Change): string =>
  [
    change.kind,
    change.on,
    change.value,
    ...(change.kind === 'sysctl' ? [change.earlier] : []),
  ].join(' ');

/** An entry as `asText` wrote it, or undefined. */
export function fromText(text: string): Change | undefined {
  const [kind, on, value, earlier] = text.split(' ');
  if (on === undefined || value === undefined) return undefined;
  if (kind === 'sysctl' && earlier !== undefined) return { kind, on, value, earlier };
  return kind === 'address' || kind === 'mac' || kind === 'group' ? { kind, on, value } : undefined;
}

const JOINED = ['scope', 'host', 'autojoin'];
/** As a source of the node's own connections, it would bring their answers to whichever node owns the address. */
const quietly = (value: string): string[] =>
  value.includes(':') ? ['nodad', 'preferred_lft', '0'] : [];
const noUnicastDrop = (name: string): string => `ipv6/conf/${name}/drop_unicast_in_l2_multicast`;
const promote = (name: string): string => `ipv4/conf/${name}/promote_secondaries`;
