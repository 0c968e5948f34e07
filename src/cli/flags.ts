import { Option, type Command } from 'commander';
import { HASH_MODES } from '../options/checks.js';
import {
  assignment,
  interfaceKey,
  maskedMark,
  nodes,
  numberList,
  numberRange,
  u32,
  u32OrAuto,
  words,
  type Assignment,
} from './values.js';

/** What commander makes of the flags, as far as it is read by name. */
export interface Flags {
  config?: string;
  address?: Assignment[];
  mac?: Assignment[];
  group?: Assignment[];
  destinations?: Assignment[];
}

/** A flag that gives an option of `open()`. */
class OptionFlag extends Option {
  /** The option's name, such as `marks.owned`. */
  readonly gives: string;

  /** @param parse what its text becomes, after what it has given before; without it, the text itself */
  constructor(
    gives: string,
    flags: string,
    description: string,
    parse?: (text: string, before: never) => unknown,
  ) {
    super(flags, description);
    this.gives = gives;
    if (parse !== undefined) this.argParser(parse as (text: string, before: unknown) => unknown);
  }
}

const HASHING = [
  new OptionFlag(
    'totalNodes',
    '--total-nodes, --cluster-total-nodes <count>',
    'nodes in the cluster, 1 to 32; node n owns bucket n - 1',
    u32,
  ),
  new OptionFlag('buckets', '--buckets <count>', 'instead: fine-grained buckets, 1 to 1023', u32),
  new OptionFlag(
    'hashSeed',
    '--hash-init, --cluster-hash-seed <seed>',
    '32-bit seed, the same on every node (mandatory)',
    u32,
  ),
  new OptionFlag('policy', '--policy <which>', 'how an address is hashed (default: jhash)').choices(
    ['jhash', 'xt_cluster', 'clusterip'],
  ),
  new OptionFlag(
    'hashMode',
    '--hashmode, --hash-mode <which>',
    'what policy clusterip hashes (default: sourceip)',
  ).choices(HASH_MODES),
];

const SHARE = [
  new OptionFlag(
    'localNode',
    '--local-node, --cluster-local-node <nodes>',
    "this node's number from 1, or several: 1,3",
    nodes,
  ),
  new OptionFlag(
    'localNodemask',
    '--cluster-local-nodemask <mask>',
    'instead: bit n - 1 stands for node n',
    u32,
  ),
  new OptionFlag(
    'invert',
    '--invert',
    'own what these nodes do not; same as a lone ! before --cluster-local-node or --cluster-local-nodemask',
  ),
  new OptionFlag(
    'ownership.buckets',
    '--own <buckets>',
    'instead: bucket numbers from 0, such as 0-511,600',
    numberList,
  ),
];

const PACKETS = [
  new OptionFlag(
    'interfaces',
    '-i, --interface <name[:key]>',
    'decide what arrives here, by its source or, with :destination, its destination; may be repeated',
    interfaceKey,
  ),
  new OptionFlag(
    'queues',
    '-q, --queue <numbers>',
    'queue number, or range such as 0-3 with a thread for each (default: 0)',
    numberRange,
  ),
  new OptionFlag(
    'queueCpuFanout',
    '--queue-cpu-fanout',
    'choose the queue by the processor that handles a packet, not by its addresses',
  ),
  new OptionFlag(
    'queueLength',
    '--queue-length <packets>',
    'packets the kernel holds per queue (default: 16384)',
    u32,
  ),
  new OptionFlag(
    'receiveBuffer',
    '--receive-buffer <bytes>',
    'socket buffer per queue (default: 33554432)',
    u32,
  ),
  new OptionFlag(
    'gather',
    '--gather <us>',
    'microseconds to sleep after each batch, for larger batches (default: 0)',
    u32,
  ),
  new OptionFlag(
    'busyPoll',
    '--busy-poll <us>',
    'microseconds to stay awake when no packet waits (default: 0)',
    u32,
  ),
  new OptionFlag(
    'realtime',
    '--realtime <priority>',
    'SCHED_FIFO priority of the queue threads; 0: none (default: auto, 1 if permitted)',
    u32OrAuto,
  ),
  new OptionFlag(
    'action',
    '--action <which>',
    'drop foreign packets, or mark owned ones (default: drop)',
  ).choices(['drop', 'mark']),
];

/** What all nodes share on an interface: options of one of the interfaces, which the value names. */
const SHARED = [
  new Option(
    '--address <interface=address/prefix>',
    'cluster address, which all nodes share; may be repeated',
  ),
  new Option('--mac <interface=mac>', 'cluster MAC, a multicast MAC; may be repeated'),
  new Option(
    '--group <interface=group>',
    'instead: join this IPv4 multicast group, whose MAC is the cluster MAC',
  ),
  new Option(
    '--destinations <interface=all|addresses>',
    'decide all that arrives, or only what is for its cluster addresses (default: all; with policy clusterip: addresses)',
  ),
].map((option) => option.argParser(assignment));

const RULES = [
  new OptionFlag(
    'conntrack',
    '--conntrack <which>',
    "how to learn a connection's original direction and master (default: auto)",
  ).choices(['auto', 'queue', 'netlink', 'mark', 'off']),
  new OptionFlag(
    'helpers',
    '--without-helpers',
    'no helper (FTP, SIP, TFTP) follows connections here',
  ).preset(false),
  new OptionFlag(
    'offload',
    '--offload <what>',
    'what the kernel decides by itself: flows, sources, or flows,sources (default: nothing)',
    words,
  ),
  new OptionFlag(
    'marks.owned',
    '--mark <value/mask>',
    'mark of an owned packet (default: 0xffff/0xffff)',
    maskedMark,
  ),
  new OptionFlag(
    'marks.multicast',
    '--multicast-bit <bit>',
    'mark bit: came in a multicast frame (default: 0x40000000)',
    u32,
  ),
  new OptionFlag(
    'marks.decided',
    '--decided-bit <bit>',
    'mark bit: has been decided (default: 0x80000000)',
    u32,
  ),
  new OptionFlag(
    'marks.direct',
    '--direct-bit <bit>',
    "mark bit: the packet's own source is the key (default: 0x20000000)",
    u32,
  ),
  new OptionFlag(
    'marks.bucket',
    '--bucket-bits <mask>',
    'mark bits: the bucket plus 1, also in the connmark (default: 0x03ff0000)',
    u32,
  ),
  new OptionFlag(
    'strict',
    '--strict',
    'policy clusterip exactly as the original, including its faults',
  ),
  new OptionFlag(
    'rules',
    '--rules <which>',
    'who writes the rules; none: you do (default: auto)',
  ).choices(['auto', 'nft', 'nft-compat', 'xtables', 'none']),
  new OptionFlag(
    'reinject',
    '--reinject <which>',
    'how packets return to the kernel, with --rules none (default: accept)',
  ).choices(['accept', 'repeat']),
  new OptionFlag(
    'name',
    '--name <name>',
    'names the rules, nfq-cluster-NAME (default: q and the queue number)',
  ),
  new OptionFlag('netns', '--netns <name>', 'network namespace, by its name or path'),
];

const CONTROL = new OptionFlag(
  'control',
  '--control <path>',
  "the engine's control socket, if not the default one",
);

/** Every flag that gives an option, in the order of the help. */
export const OPTION_FLAGS: readonly OptionFlag[] = [
  ...HASHING,
  ...SHARE,
  ...PACKETS,
  ...RULES,
  CONTROL,
];

const withAll = (command: Command, flags: readonly Option[]): Command =>
  flags.reduce((all, flag) => all.addOption(flag), command);

/** The flags that say how an address becomes a bucket. */
export const withHashing = (command: Command): Command =>
  withAll(command, HASHING).option(
    '--config <file>',
    "JSON with the names of open()'s options; a flag overrides it",
  );

/** The flags that say what this node owns. */
export const withShare = (command: Command): Command => withAll(command, SHARE);

/** The flags that say which packets are decided, and what becomes of them. */
export const withPackets = (command: Command): Command => withAll(command, PACKETS);

/** The flags that say how packets come to the queue and back, and how connections are followed. */
export const withRules = (command: Command): Command => withAll(command, RULES);

/** All flags of a setup: those of `open()`'s options but `control`. */
export const withSetup = (command: Command): Command =>
  withRules(withAll(withPackets(withShare(withHashing(command))), SHARED));

/** The flag that says where a running engine listens. */
export const withControl = (command: Command): Command => withAll(command, [CONTROL]);
