import { access } from 'node:fs/promises';
import type { ResolvedOptions } from '../options/types.js';
import {
  fromText,
  sysctlsOf,
  type Change,
  type InterfaceFacts,
  type SystemFacts,
} from './changes.js';
import { runForJson } from './exec.js';
import { readSysctls } from './kernel-files.js';
import { UNDO } from './markers.js';
import { hidden } from './proc.js';
import { rulesName } from './ruleset.js';
import { readTraces, type Traces } from './traces.js';

/** All that a plan depends on besides its options. */
export interface Facts extends SystemFacts {
  traces: Traces;
  /** What a setup of this name has changed, in order. */
  journal: readonly Change[];
  /** The changes that the namespace's other setups need: each made by one of them. */
  others: readonly Change[];
}

/** A setup, by its options or by its name alone; `interfaces` are those whose kernel parameters it may change. */
type Named = Pick<ResolvedOptions, 'name' | 'netns'> & Partial<Pick<ResolvedOptions, 'interfaces'>>;

/**
 * Reads, and changes nothing.
 * @throws NfqClusterError `ERR_SYSTEM` where /proc is hidden, and what `runOrThrow` throws
 */
export async function readFacts({ name, netns, interfaces = [] }: Named): Promise<Facts> {
  await requireProc();
  const table = rulesName({ name });
  const traces = await readTraces(table, netns);
  const journal = journals(traces, (other) => other === table);
  const changed = journal.filter(({ kind }) => kind === 'sysctl').map(({ on }) => on);
  return {
    traces,
    journal,
    others: journals(traces, (other) => other !== table),
    interfaces: await readInterfaces(netns),
    sysctls: await readSysctls([...new Set([...sysctlsOf({ interfaces }), ...changed])], netns),
  };
}

/** What every network namespace has. */
const SHOWN = ['/proc/net/dev', '/proc/sys/net/ipv4/conf/all'];

/*
 * What is hidden must not pass for what the kernel does not have: kernel parameters would stay as they are, MACs would not
 * be taken back, and IPv6 would pass xtables undecided.
 */
async function requireProc(): Promise<void> {
  for (const path of SHOWN) {
    await access(path).catch((error: unknown) => {
      throw hidden(path, error as NodeJS.ErrnoException);
    });
  }
}

/** The changes that the namespace's setups remember, those of one of them or of all the others. */
function journals({ setups }: Traces, which: (table: string) => boolean): Change[] {
  return Object.entries(setups)
    .filter(([table]) => which(table))
    .flatMap(([, setup]) => setup?.comments[UNDO] ?? [])
    .flatMap((entry) => fromText(entry) ?? []);
}

/** Of an interface in JSON, as `ip -details` prints it. */
export interface PortJson {
  master?: string;
  /** Names that the kernel takes beside `ifname`, but that no packet enters by. */
  altnames?: string[];
  /** The interface below; one in another network namespace has no name here. */
  link?: string;
  linkinfo?: { info_slave_kind?: string; info_kind?: string; info_data?: { mode?: string } };
}

/** Where rules see an interface's packets, if not on itself: an ipvlan of mode l3s has them from IP. */
export const arrivesOn = (json: PortJson): string | undefined =>
  portOf(json) ?? (isL3s(json.linkinfo) ? (json.link ?? 'the interface below') : undefined);

const isL3s = (linkinfo: PortJson['linkinfo']): boolean =>
  linkinfo?.info_kind === 'ipvlan' && linkinfo.info_data?.mode === 'l3s';

/** The bridge, bond or such on which an interface's packets arrive. In a VRF they arrive on the interface, too. */
export const portOf = ({ master, linkinfo }: PortJson): string | undefined =>
  isInVrf(linkinfo) ? undefined : master;

const isInVrf = (linkinfo: PortJson['linkinfo']): boolean => linkinfo?.info_slave_kind === 'vrf';

interface Link extends PortJson {
  ifindex?: number;
  ifname?: string;
  address?: string;
  addr_info?: { local?: string; prefixlen?: number; dadfailed?: boolean }[];
  maddr?: { link?: string; features?: string }[];
}

async function readInterfaces(
  netns: string | undefined,
): Promise<Partial<Record<string, InterfaceFacts>>> {
  const all = (links: Link[]): Link[] => [...links];
  const list = (what: string): Promise<Link[]> =>
    runForJson('list the interfaces', 'ip', ['-json', '-details', what, 'show'], netns, all);
  const macs = new Map<string | undefined, string[]>();
  for (const { ifname, maddr = [] } of await list('maddress')) {
    const added = maddr.filter(({ features }) => features?.includes('static'));
    macs.set(
      ifname,
      added.flatMap(({ link }) => link ?? []),
    );
  }
  // Without a prototype: an interface may be called "constructor".
  const interfaces = Object.create(null) as Partial<Record<string, InterfaceFacts>>;
  for (const link of await list('address')) {
    const { ifindex = 0, ifname = '', address = '', addr_info = [] } = link;
    interfaces[ifname] = {
      index: ifindex,
      arrivesOn: arrivesOn(link),
      vrf: isInVrf(link.linkinfo) ? link.master : undefined,
      mac: /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(address) ? address : '',
      addresses: addr_info.flatMap(({ local }) => local ?? []),
      duplicates: addr_info
        .filter(({ dadfailed }) => dadfailed)
        .map(({ local, prefixlen }) => `${local}/${prefixlen}`),
      macs: macs.get(ifname) ?? [],
    };
    for (const name of link.altnames ?? [])
      interfaces[name] = { index: ifindex, arrivesOn: ifname, mac: '', addresses: [], macs: [] };
  }
  return interfaces;
}
