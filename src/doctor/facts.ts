import type { ResolvedOptions } from '../options/types.js';
import type { Change, SystemFacts } from '../setup/changes.js';
import type { Mechanism } from '../setup/ruleset.js';
import type { EngineFacts } from './engine.js';
import type { Fact } from './finding.js';
import type { Listener } from './listeners.js';
import type { Netfilter } from './netfilter.js';
import type { SavedRules } from './xtables-rule.js';

/** An interface, as far as packets depend on it. */
export interface Link {
  name: string;
  up: boolean;
  carrier: boolean;
  /** As in InterfaceFacts. */
  arrivesOn?: string | undefined;
  /** The bridge, bond or such that it is a port of. */
  portOf?: string | undefined;
  loopback?: boolean;
  /** The interface that a VLAN, a macvlan or such takes its packets from. */
  above?: string | undefined;
  vlan?: boolean;
  /** Whether rules see what this bridge only forwards, whatever the kernel parameter says; undefined for others. */
  bridgesByRules?: boolean | undefined;
  /** Whether this is a bridge that passes its machine only the multicast frames that it is known to want. */
  snoops?: boolean;
}

/** An entry of the table of ARP and neighbour discovery. */
export interface Neighbour {
  address: string;
  on: string;
  /** Undefined where it is not resolved. */
  mac: string | undefined;
}

/** A setup that is looked at: that of the options, or one that stands. */
export interface Subject {
  name: string;
  /** Ascending. */
  queues: readonly number[];
  interfaces: readonly string[];
  /** Those of them that decide only packets for cluster addresses, as far as that is known. */
  narrow: readonly string[];
  /** Whether rules of its name stand. */
  rules: boolean;
  /**
   * How the rules compare with those of the options; `own`: they are the user's, with `rules: 'none'`; `unknown`: the
   * latter cannot be made here. Undefined without options.
   */
  compared: 'same' | 'changed' | 'other options' | 'own' | 'unknown' | undefined;
  /** What the setup changes besides the rules. */
  changes: readonly Change[];
  /** The cluster addresses with their MAC. */
  shared: readonly { address: string; mac: string; on: string }[];
  /** The priority of its first chain, in prerouting. */
  priority: number;
  /** Whether it decides without connections, by each packet's own header. */
  stateless: boolean;
  /** Whether connections are looked up by ctnetlink, at least on some kernels; false without options. */
  looksUp: boolean;
  /** Undefined without options. */
  action: ResolvedOptions['action'] | undefined;
  marks: ResolvedOptions['marks'];
}

/** What the programs and /proc told; nothing was changed to learn it. */
export interface DoctorFacts {
  /** The path of the network namespace; undefined for the process's own. */
  netns: string | undefined;
  /** The programs that are called, and the package of each that is missing. */
  programs: readonly { name: string; missing: string | undefined }[];
  /** The effective capabilities. */
  capabilities: Fact<bigint>;
  /** As errnos, 0 if the kernel can: listening on a queue, and attaching connections to its messages. */
  probe: Fact<{ bind: number; conntrack: number }>;
  mechanism: Fact<Mechanism>;
  /** Whether nft has the hash of a rule that `export --to nft` prints. */
  jhash: Fact<boolean>;
  system: Fact<SystemFacts>;
  subjects: Fact<readonly Subject[]>;
  links: Fact<readonly Link[]>;
  neighbours: Fact<readonly Neighbour[]>;
  listeners: Fact<readonly Listener[]>;
  engines: Fact<readonly EngineFacts[]>;
  nft: Fact<readonly Netfilter[]>;
  xtables: Fact<readonly SavedRules[]>;
}
