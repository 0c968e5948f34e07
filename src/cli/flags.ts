import { Option, type Command } from 'commander';
import { HASH_MODES } from '../checks.js';
import type { Offload } from '../conntrack-options.js';
import type { InterfaceOptions, MaskedMark, Options } from '../option-types.js';
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

/** What commander makes of the flags. */
export interface Flags {
  config?: string;
  policy?: Options['policy'];
  hashMode?: Options['hashMode'];
  strict?: true;
  clusterTotalNodes?: number;
  buckets?: number;
  clusterHashSeed?: number;
  clusterLocalNode?: number | number[];
  clusterLocalNodemask?: number;
  invert?: true;
  own?: number[];
  interface?: InterfaceOptions[];
  address?: Assignment[];
  mac?: Assignment[];
  group?: Assignment[];
  destinations?: Assignment[];
  queue?: number[];
  queueCpuFanout?: true;
  action?: Options['action'];
  mark?: MaskedMark;
  multicastBit?: number;
  decidedBit?: number;
  directBit?: number;
  bucketBits?: number;
  conntrack?: Options['conntrack'];
  offload?: Options['offload'];
  netns?: string;
  name?: string;
  queueLength?: number;
  receiveBuffer?: number;
  gather?: number;
  busyPoll?: number;
  realtime?: number | 'auto';
  withoutHelpers?: true;
  rules?: Options['rules'];
  reinject?: Options['reinject'];
  control?: string;
}

/** The flags that say how an address becomes a bucket. */
export const withHashing = (command: Command): Command =>
  command
    .option(
      '--total-nodes, --cluster-total-nodes <count>',
      'nodes in the cluster, 1 to 32; node n owns bucket n - 1',
      u32,
    )
    .option('--buckets <count>', 'instead: fine-grained buckets, 1 to 1023', u32)
    .option(
      '--hash-init, --cluster-hash-seed <seed>',
      '32-bit seed, the same on every node (mandatory)',
      u32,
    )
    .addOption(
      choice(
        '--policy',
        'how an address is hashed (default: jhash)',
        'jhash',
        'xt_cluster',
        'clusterip',
      ),
    )
    .addOption(
      choice(
        '--hashmode, --hash-mode',
        'what policy clusterip hashes (default: sourceip)',
        ...HASH_MODES,
      ),
    )
    .option('--config <file>', "JSON with the names of open()'s options; a flag overrides it");

/** The flags that say what this node owns. */
export const withShare = (command: Command): Command =>
  command
    .option(
      '--local-node, --cluster-local-node <nodes>',
      "this node's number from 1, or several: 1,3",
      nodes,
    )
    .option('--cluster-local-nodemask <mask>', 'instead: bit n - 1 stands for node n', u32)
    .option(
      '--invert',
      'own what these nodes do not; same as a lone ! before --cluster-local-node or --cluster-local-nodemask',
    )
    .option('--own <buckets>', 'instead: bucket numbers from 0, such as 0-511,600', numberList);

/** The flags that say which packets are decided, and what becomes of them. */
export const withPackets = (command: Command): Command =>
  command
    .option(
      '-i, --interface <name[:key]>',
      'decide what arrives here, by its source or, with :destination, its destination; may be repeated',
      interfaceKey,
    )
    .option(
      '-q, --queue <numbers>',
      'queue number, or range such as 0-3 with a thread for each (default: 0)',
      numberRange,
    )
    .option(
      '--queue-cpu-fanout',
      'choose the queue by the processor that handles a packet, not by its addresses',
    )
    .option('--queue-length <packets>', 'packets the kernel holds per queue (default: 16384)', u32)
    .option('--receive-buffer <bytes>', 'socket buffer per queue (default: 33554432)', u32)
    .option(
      '--gather <us>',
      'microseconds to sleep after each batch, for larger batches (default: 0)',
      u32,
    )
    .option('--busy-poll <us>', 'microseconds to stay awake when no packet waits (default: 0)', u32)
    .option(
      '--realtime <priority>',
      'SCHED_FIFO priority of the queue threads; 0: none (default: auto, 1 if permitted)',
      u32OrAuto,
    )
    .addOption(
      choice(
        '--action',
        'drop foreign packets, or mark owned ones (default: drop)',
        'drop',
        'mark',
      ),
    );

/** The flags that say what all nodes share on an interface. */
const withShared = (command: Command): Command =>
  command
    .option(
      '--address <interface=address/prefix>',
      'cluster address, which all nodes share; may be repeated',
      assignment,
    )
    .option('--mac <interface=mac>', 'cluster MAC, a multicast MAC; may be repeated', assignment)
    .option(
      '--group <interface=group>',
      'instead: join this IPv4 multicast group, whose MAC is the cluster MAC',
      assignment,
    )
    .option(
      '--destinations <interface=all|addresses>',
      'decide all that arrives, or only what is for its cluster addresses (default: all; with policy clusterip: addresses)',
      assignment,
    );

/** The flags that say how packets come to the queue and back, and how connections are followed. */
export const withRules = (command: Command): Command =>
  withConntrack(command)
    .option('--mark <value/mask>', 'mark of an owned packet (default: 0xffff/0xffff)', maskedMark)
    .option(
      '--multicast-bit <bit>',
      'mark bit: came in a multicast frame (default: 0x40000000)',
      u32,
    )
    .option('--decided-bit <bit>', 'mark bit: has been decided (default: 0x80000000)', u32)
    .option(
      '--direct-bit <bit>',
      "mark bit: the packet's own source is the key (default: 0x20000000)",
      u32,
    )
    .option(
      '--bucket-bits <mask>',
      'mark bits: the bucket plus 1, also in the connmark (default: 0x03ff0000)',
      u32,
    )
    .option('--strict', 'policy clusterip exactly as the original, including its faults')
    .addOption(rulesChoice())
    .addOption(
      choice(
        '--reinject',
        'how packets return to the kernel, with --rules none (default: accept)',
        'accept',
        'repeat',
      ),
    )
    .option('--name <name>', 'names the rules, nfq-cluster-NAME (default: q and the queue number)')
    .option('--netns <name>', 'network namespace, by its name or path');

const withConntrack = (command: Command): Command =>
  command
    .addOption(
      choice(
        '--conntrack',
        "how to learn a connection's original direction and master (default: auto)",
        'auto',
        'queue',
        'netlink',
        'mark',
        'off',
      ),
    )
    .option('--without-helpers', 'no helper (FTP, SIP, TFTP) follows connections here')
    .option(
      '--offload <what>',
      'what the kernel decides by itself: flows, sources, or flows,sources (default: nothing)',
      words<Offload>,
    );

/** All flags of a setup: those of `open()`'s options but `control`. */
export const withSetup = (command: Command): Command =>
  withRules(withShared(withPackets(withShare(withHashing(command)))));

/** The flag that says where a running engine listens. */
export const withControl = (command: Command): Command =>
  command.option('--control <path>', "the engine's control socket, if not the default one");

const choice = (flag: string, description: string, ...choices: string[]): Option =>
  new Option(`${flag} <which>`, description).choices(choices);

const rulesChoice = (): Option =>
  choice(
    '--rules',
    'who writes the rules; none: you do (default: auto)',
    'auto',
    'nft',
    'nft-compat',
    'xtables',
    'none',
  );
