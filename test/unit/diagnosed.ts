/* What the tests of doctor share: a healthy node's facts, and what is said of others. */
import type { Told } from '../../src/doctor/engine.js';
import type { DoctorFacts, Subject } from '../../src/doctor/facts.js';
import { diagnose, type Finding } from '../../src/doctor/index.js';
import type { Options } from '../../src/options/types.js';
import type { Expr, Netfilter } from '../../src/doctor/netfilter.js';
import { resolveOptions } from '../../src/options/resolve.js';

export const MAC = '03:00:00:00:00:02';

export const SUBJECT: Subject = {
  name: 'q0',
  queues: [0, 1],
  interfaces: ['eth0'],
  narrow: [],
  rules: true,
  compared: 'same',
  changes: [{ kind: 'mac', on: 'eth0', value: MAC }],
  shared: [{ address: '192.0.2.10', mac: MAC, on: 'eth0' }],
  priority: -152,
  stateless: false,
  looksUp: true,
  action: 'drop',
  marks: {
    owned: { value: 0xffff, mask: 0xffff },
    multicast: 0x4000_0000,
    decided: 0x8000_0000,
    direct: 0,
    bucket: 0,
  },
};

export const engine = (queue: number, lost = 0) => ({
  queue,
  lost,
  process: { id: 7, name: 'node', hasEngine: true },
});

/** Of the setup above, as its user writes them. */
export const OPTIONS: Options = {
  interfaces: ['eth0'],
  totalNodes: 2,
  localNode: 1,
  hashSeed: 0xdeadbeef,
  queues: [0, 1],
};

/** What an engine with these options tells. */
export const TOLD: Told = {
  name: 'q0',
  policy: 'jhash',
  hashMode: null,
  strict: null,
  hashSeed: 0xdeadbeef,
  buckets: 2,
  action: 'drop',
  ownedMark: { value: 0xffff, mask: 0xffff },
  conntrack: { source: 'queue', why: '' },
  offload: [],
  interfaces: resolveOptions(OPTIONS).interfaces,
  queues: [0, 1],
  validFor: null,
};

export const HEALTHY: DoctorFacts = {
  netns: undefined,
  programs: [{ name: 'nft', missing: undefined }],
  capabilities: { known: 1n << 12n },
  probe: { known: { bind: 0, conntrack: 0 } },
  mechanism: { known: { kind: 'nft' } },
  jhash: { known: true },
  system: {
    known: {
      interfaces: { eth0: { index: 2, mac: '02:00:00:00:00:01', addresses: [], macs: [MAC] } },
      sysctls: { 'netfilter/nf_conntrack_max': '65536' },
    },
  },
  subjects: { known: [SUBJECT] },
  links: { known: [{ name: 'eth0', up: true, carrier: true }] },
  neighbours: { known: [{ address: '192.0.2.10', on: 'eth0', mac: MAC }] },
  listeners: { known: [engine(0), engine(1)] },
  engines: { known: [{ name: 'q0', answer: { known: TOLD }, options: resolveOptions(OPTIONS) }] },
  nft: { known: [] },
  xtables: { known: [] },
};

/** What is wrong where these facts differ from a healthy node's: level and check, and all that is said. */
export function wrong(different: Partial<DoctorFacts>): Finding[] {
  const { findings } = diagnose({ ...HEALTHY, ...different });
  return findings.filter(({ level, check }) => level !== 'ok' && check !== 'routers');
}

export const named = (findings: Finding[]): string[] =>
  findings.map(({ level, check }) => `${level} ${check}`);

export const chain = (hook: string, more: object = {}): Netfilter => ({
  chain: { family: 'inet', table: 't', name: 'c', hook, prio: -300, policy: 'accept', ...more },
});

export const rule = (expr: Expr[], on = 'c', table = 't'): Netfilter => ({
  rule: { family: 'inet', table, chain: on, handle: 4, expr },
});

export const entersBy = (right: unknown): Expr => ({
  match: { op: '==', left: { meta: { key: 'iifname' } }, right },
});

export const ofNft = (...known: Netfilter[]): Finding[] => wrong({ nft: { known } });

export const ofXtables = (...lines: string[]): Finding[] =>
  wrong({
    xtables: {
      known: [{ program: 'iptables-nft', family: 'ip', legacy: false, text: lines.join('\n') }],
    },
  });

export const marking: Partial<DoctorFacts> = {
  subjects: { known: [{ ...SUBJECT, action: 'mark' }] },
};
