import { NfqClusterError } from '../errors.js';
import { netnsPath } from '../netns.js';
import type { ResolvedOptions } from '../options/types.js';
import { resolveOptions } from '../options/resolve.js';
import { findProgram, packageOf, run, runForJson } from '../setup/exec.js';
import { arrivesOn, portOf, readFacts, type PortJson } from '../setup/facts.js';
import { readSysctls } from '../setup/kernel-files.js';
import { readCapabilities } from '../setup/proc.js';
import { chooseMechanism, hasJhash, probeQueue } from '../setup/probe.js';
import {
  incompatible,
  incompatibleTable,
  installedVariants,
  legacyTables,
} from '../setup/traces.js';
import { readEngine, type EngineFacts } from './engine.js';
import type { Fact } from './finding.js';
import type { DoctorFacts, Link, Neighbour } from './facts.js';
import { BRIDGE_SYSCTLS } from './links.js';
import { readListeners } from './listeners.js';
import type { Netfilter } from './netfilter.js';
import { standingSubjects, subjectOf } from './subjects.js';
import { CONNTRACK, IPVS } from './system.js';
import type { SavedRules } from './xtables-rule.js';

const PROGRAMS = ['nft', 'ip', 'unshare'];

/** Runs programs and reads files, none of which changes anything. What cannot be read is not known. */
export async function gather(
  options: ResolvedOptions | undefined,
  netns: string | undefined,
): Promise<DoctorFacts> {
  const mechanism = await attempt(() => chooseMechanism(options ?? anything(netns)));
  const chosen = 'known' in mechanism ? mechanism.known : undefined;
  const nft = await attempt(() => readNft(netns));
  const setup = await attempt(() => readFacts(options ?? { name: '', netns }));
  const subjects = await attempt(async () =>
    options === undefined
      ? standingSubjects(netns, known(nft))
      : [await subjectOf(options, chosen, known(setup))],
  );
  return {
    netns: netnsPath(netns) || undefined,
    programs: readPrograms(),
    capabilities: await attempt(readCapabilities),
    probe: await attempt(probeQueue),
    mechanism,
    jhash: await attempt(() => hasJhash(netns)),
    system: await attempt(async () => ({
      interfaces: known(setup).interfaces,
      sysctls: await readSysctls(
        [CONNTRACK, IPVS, ...BRIDGE_SYSCTLS, ...sysctlsOfAll(subjects)],
        netns,
      ),
    })),
    subjects,
    links: await attempt(() => readLinks(netns)),
    neighbours: await attempt(() => readNeighbours(netns)),
    listeners: await attempt(() => readListeners(netns)),
    engines: await attempt(() => readEngines(options, netns, subjects)),
    nft,
    xtables: await attempt(() => readXtables(netns)),
  };
}

const sysctlsOfAll = (subjects: DoctorFacts['subjects']): string[] =>
  'unknown' in subjects
    ? []
    : subjects.known.flatMap(({ changes }) =>
        changes.filter(({ kind }) => kind === 'sysctl').map(({ on }) => on),
      );

/** Options with which to ask what the kernel can do, if none are given; they need no connections. */
const anything = (netns: string | undefined): ResolvedOptions =>
  resolveOptions({
    interfaces: [{ name: 'lo', key: 'destination' }],
    hashSeed: 0,
    totalNodes: 1,
    localNode: 1,
    rules: 'auto',
    netns,
  });

async function attempt<T>(read: () => T | Promise<T>): Promise<Fact<T>> {
  try {
    return { known: await read() };
  } catch (error) {
    if (!(error instanceof NfqClusterError)) throw error;
    return { unknown: error.message, code: error.code };
  }
}

function known<T>(fact: Fact<T>): T {
  if ('known' in fact) return fact.known;
  throw new NfqClusterError('ERR_SYSTEM', fact.unknown);
}

/** Of the options, or of every setup that stands; all are asked at once, as each may be stopped. */
async function readEngines(
  options: ResolvedOptions | undefined,
  netns: string | undefined,
  subjects: DoctorFacts['subjects'],
): Promise<EngineFacts[]> {
  if (options !== undefined) {
    return [{ name: options.name, answer: await readEngine(options), options }];
  }
  const standing = known(subjects).map(async ({ name }) => ({
    name,
    answer: await readEngine({ name, netns, control: 'auto' }),
    options,
  }));
  return Promise.all(standing);
}

const readPrograms = (): DoctorFacts['programs'] =>
  PROGRAMS.map((name) => ({
    name,
    missing: findProgram(name) === undefined ? packageOf(name) : undefined,
  }));

interface LinkJson extends PortJson {
  ifname: string;
  flags: string[];
  link?: string;
  linkinfo?: {
    info_slave_kind?: string;
    info_kind?: string;
    info_data?: {
      mode?: string;
      nf_call_iptables?: number;
      nf_call_ip6tables?: number;
      mcast_snooping?: number;
      mcast_router?: number;
    };
  };
}

async function readLinks(netns: string | undefined): Promise<Link[]> {
  const args = ['-json', '-details', 'link', 'show'];
  const all = (links: LinkJson[]): Link[] => links.flatMap(linksOf);
  return runForJson('list the interfaces', 'ip', args, netns, all);
}

/** An interface, and its other names, on which nothing arrives. */
const linksOf = (link: LinkJson): Link[] => [
  linkOf(link),
  ...(link.altnames ?? []).map((name) => ({
    name,
    up: true,
    carrier: true,
    arrivesOn: link.ifname,
  })),
];

const linkOf = (link: LinkJson): Link => ({
  name: link.ifname,
  up: link.flags.includes('UP'),
  carrier: link.flags.includes('LOWER_UP'),
  arrivesOn: arrivesOn(link),
  portOf: portOf(link),
  loopback: link.flags.includes('LOOPBACK'),
  // Of a veth, this is its other end.
  above: link.linkinfo?.info_kind === 'veth' ? undefined : link.link,
  vlan: link.linkinfo?.info_kind === 'vlan',
  bridgesByRules: bridgesByRules(link),
  snoops: snoops(link),
});

function bridgesByRules({
  linkinfo: { info_kind, info_data } = {},
}: LinkJson): boolean | undefined {
  if (info_kind !== 'bridge') return undefined;
  return info_data?.nf_call_iptables === 1 || info_data?.nf_call_ip6tables === 1;
}

const ALWAYS = 2;

const snoops = ({ linkinfo: { info_kind, info_data } = {} }: LinkJson): boolean =>
  info_kind === 'bridge' && info_data?.mcast_snooping === 1 && info_data.mcast_router !== ALWAYS;

async function readNeighbours(netns: string | undefined): Promise<Neighbour[]> {
  const args = ['-json', 'neigh', 'show'];
  const all = (found: { dst: string; dev: string; lladdr?: string }[]): Neighbour[] =>
    found.map(({ dst, dev, lladdr }) => ({ address: dst, on: dev, mac: lladdr }));
  return runForJson('list the neighbours', 'ip', args, netns, all);
}

async function readNft(netns: string | undefined): Promise<Netfilter[]> {
  const args = ['-j', '-t', 'list', 'ruleset'];
  const all = ({ nftables }: { nftables: Netfilter[] }): Netfilter[] => [...nftables];
  return runForJson('list the nft rules', 'nft', args, netns, all);
}

/** Of iptables-legacy only what is there, since to ask for a table would make it. */
async function readXtables(netns: string | undefined): Promise<SavedRules[]> {
  const saved: SavedRules[] = [];
  for (const variant of await installedVariants()) {
    const tables = variant.legacy ? await legacyTables(variant.family, netns) : [''];
    for (const table of tables) {
      const args = table === '' ? [] : ['-t', table];
      const { status, stdout } = await run(`${variant.program}-save`, args, { netns });
      const unread = incompatibleTable(stdout);
      if (unread !== undefined) throw incompatible(variant.program, `${variant.family} ${unread}`);
      if (status === 0) saved.push({ ...variant, text: stdout });
      else throw new NfqClusterError('ERR_RULES', `${variant.program}-save ended with ${status}`);
    }
  }
  return saved;
}
