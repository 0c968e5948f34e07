/* What a user gives, and what is made of it in options.ts. */
import type { ConntrackSource, Offload } from './conntrack-options.js';
import type { OwnershipInput, Share } from './ownership.js';
import type { Destinations, Shared } from './shared.js';

/** How a key becomes a bucket. See docs/decision.md for the formulas. */
export type Policy = 'jhash' | 'xt_cluster' | 'clusterip';

/** What policy `clusterip` hashes of a packet: CLUSTERIP's `--hashmode`. */
export type HashMode = 'sourceip' | 'sourceip-sourceport' | 'sourceip-sourceport-destport';

/** Which address of a packet is hashed. */
export type Key = 'source' | 'destination';

/** Who writes the rules that bring packets to the queue. */
export type Rules = 'none' | 'auto' | 'nft' | 'nft-compat' | 'xtables';

export interface InterfaceOptions {
  /** The interface's name in the engine's network namespace. */
  name: string;
  /**
   * The address hashed for packets that enter here: `destination` for the inside of a stateless gateway.
   * @default 'source'
   */
  key?: Key;
  /**
   * Cluster addresses with their prefix length, such as `192.0.2.10/24` and `2001:db8::10/64`: added to
   * the interface with the rules and taken away with them. Need `mac` or `group`.
   * @default []
   */
  addresses?: readonly string[];
  /**
   * The cluster MAC: a multicast MAC, the same on every node, such as `03:00:c0:00:02:0a`. The interface
   * takes it, and ARP and neighbour discovery tell it for every cluster address.
   * @default the MAC of `group`
   */
  mac?: string;
  /**
   * An IPv4 multicast group to join, such as `239.192.2.10`, so that switches with IGMP snooping learn
   * where the frames of its MAC (`01:00:5e:…`) belong.
   */
  group?: string;
  /**
   * Which packets that enter here are the cluster's. `all`: every one, as for a gateway, which forwards
   * packets that are for other addresses. `addresses`: those to `addresses` alone, as CLUSTERIP's `-d`;
   * every other one passes undecided, under action `mark` with the mark of an owned packet.
   * @default 'all'; with policy `clusterip` 'addresses', where there are any
   */
  destinations?: Destinations;
}

/** A value under a mask, as in `iptables -j MARK --set-xmark VALUE/MASK`. */
export interface MaskedMark {
  value: number;
  mask: number;
}

export interface MarkOptions {
  /**
   * What an owned packet's mark carries under action `mark`. Cleared from every other packet.
   * @default { value: 0xffff, mask: 0xffff }
   */
  owned?: MaskedMark;
  /**
   * One bit. Before the queue: the frame was link-layer multicast. After it, where `rules` is `none` or the policy
   * `clusterip`: so that pkt_type is to become HOST. Other rules have set it before.
   * @default 0x40000000
   */
  multicast?: number;
  /**
   * One bit. The engine has decided this packet; used only with `reinject: 'repeat'`.
   * @default 0x80000000
   */
  decided?: number;
  /**
   * One bit. Before the queue: the packet goes in its connection's original direction, has no master and
   * is no ICMP error, so that its own source is the key. Not where conntrack is off.
   * @default 0x20000000; 0 where `rules` is `none`, until you write such a rule
   */
  direct?: number;
  /**
   * Adjacent bits. With conntrack `mark` and offload: where rules keep a connection's bucket plus 1 in its connmark, and tell
   * the engine of it. With policy `clusterip`: where the engine tells rules behind the queue a packet's node.
   * @default 0x03ff0000
   */
  bucket?: number;
}

export interface Options {
  /**
   * Queue numbers, one native thread each. Several must be consecutive.
   * @default [0]
   */
  queues?: readonly number[];
  /**
   * `--queue-cpu-fanout`: of several queues a packet goes to that of the processor which handles it, number
   * modulo count, not to that of its addresses' hash. Needs `rules`. docs/setup.md says what for, and what it
   * takes to keep the order of a flow's packets.
   * @default false
   */
  queueCpuFanout?: boolean;
  /** The interfaces whose incoming packets are decided; a name alone means `{ name }`. */
  interfaces: readonly (string | InterfaceOptions)[];
  /** @default 'jhash' */
  policy?: Policy;
  /**
   * Policy `clusterip` only.
   * @default 'sourceip'
   */
  hashMode?: HashMode;
  /**
   * Policy `clusterip` only: the original to the letter, its faults included; docs/clusterip.md
   * lists them.
   * @default false
   */
  strict?: boolean;
  /** `--cluster-hash-seed`, or CLUSTERIP's `--hash-init`: 0 to 0xffffffff, the same on every node. */
  hashSeed: number;
  /** `--cluster-total-nodes`: 1 to 32. Node n owns bucket n - 1. Excludes `buckets`. */
  totalNodes?: number;
  /** `--cluster-local-node`: this node's number, or numbers, from 1 to `totalNodes`. */
  localNode?: number | readonly number[];
  /** `--cluster-local-nodemask`: bit n - 1 stands for node n. Excludes `localNode`. */
  localNodemask?: number;
  /**
   * `!` before `--cluster-local-node`: own what the local nodes do not. Malformed, INVALID and
   * untracked packets stay foreign. Excludes `ownership`.
   * @default false
   */
  invert?: boolean;
  /** Fine-grained: the number of buckets, 1 to 1,023, instead of `totalNodes`. Needs `ownership`. */
  buckets?: number;
  /** What is owned at the start. Excludes `localNode` and `localNodemask`. */
  ownership?: OwnershipInput;
  /**
   * `drop`: foreign packets are dropped. `mark`: owned packets carry `marks.owned`, and every
   * packet passes, for rules of the user's own to drop.
   * @default 'drop'
   */
  action?: 'drop' | 'mark';
  /** The bits of a packet's mark that are ours; all others survive. */
  marks?: MarkOptions;
  /**
   * What tells the original direction of a packet's connection, and its master. `queue`: the queue's own
   * messages, where the kernel attaches it. `netlink`: ctnetlink and its expectation events. `mark`: the
   * connmark, in which the rules keep the bucket; of what has none ctnetlink is asked. `off`: the packet's
   * own header alone. `auto`: queue where the kernel has it, else netlink;
   * off for policy `clusterip`, and where an interface has the key `destination`.
   * @default 'auto'
   */
  conntrack?: 'auto' | ConntrackSource;
  /**
   * Whether helpers (FTP, SIP, TFTP) may follow connections here. `false`: no rule assigns one. With conntrack
   * `netlink` nobody then listens to what they announce, and the kernel keeps less of each connection: some
   * percent of the time per packet. A connection that a helper awaits all the same is unknown, and foreign,
   * unless its connmark tells the bucket. Where connmarks keep buckets nobody listens anyway.
   * @default true
   */
  helpers?: boolean;
  /**
   * What the kernel decides by itself, without the queue. `flows`: packets of connections whose bucket is
   * known, kept in the connmark. `sources`: also new connections, whose source the kernel hashes by nft's
   * jhash; where conntrack is off, all packets, and `flows` is refused. What is owned is then sets of
   * the nft table, whose elements end with the ownership. Needs `rules`, and another policy than
   * `clusterip`. docs/connections.md says what it costs.
   * @default []
   */
  offload?: readonly Offload[];
  /**
   * How a packet that passes returns to the kernel: `accept` goes on at the next hook, `repeat`
   * runs the queueing hook again with `marks.decided` set, so that xtables rules behind the queue
   * rule still see the packet. Chosen by itself unless `rules` is `none`.
   * @default 'accept'
   */
  reinject?: 'accept' | 'repeat';
  /**
   * `auto`: install rules, and remove them on close, by the first of these that the kernel has. `nft`:
   * nft's `queue` statement. `nft-compat`: NFQUEUE of xtables in nft's own chain. `xtables`: NFQUEUE by
   * iptables and ip6tables, which has a packet pass two hooks, not one. `none`: the rules are the user's
   * own affair.
   * @default 'none'
   */
  rules?: Rules;
  /**
   * Names the rules (`nfq-cluster-NAME`), so that a later run finds and replaces them:
   * 1 to 16 characters of a-z, 0-9, `-` and `_`, the first of which is no `-`.
   * @default 'q' and the first queue number
   */
  name?: string;
  /**
   * Packets that the kernel holds for a queue before it drops; 1 to 4,294,967,295.
   * @default 16384
   */
  queueLength?: number;
  /**
   * Bytes asked for the queue socket's receive buffer. Beyond net.core.rmem_max only with
   * CAP_NET_ADMIN in the initial user namespace; what was got is in `stats().receiveBuffer`.
   * @default 33554432
   */
  receiveBuffer?: number;
  /**
   * Microseconds that a queue thread sleeps once it has answered all that waited: larger batches for
   * later verdicts. A packet that finds the thread waiting is still answered at once. 0 to 10,000.
   * @default 0
   */
  gather?: number;
  /**
   * Microseconds that a queue thread stays awake, at the price of its processor, when no packet waits:
   * where sleepers are woken late, verdicts come in time. 0 to 10,000; to sleep never between packets,
   * several times their distance.
   * @default 0
   */
  busyPoll?: number;
  /**
   * Priority by which the queue threads, and no others of the process, run under SCHED_FIFO (sched(7)): ahead of
   * all that is ordinary on their processors, so that verdicts come in time beside other work. A thread that took
   * nine tenths of 10 ms, as in a flood, is an ordinary one for the next 100 ms. 1 to 99, or 0 for the ordinary
   * scheduler. Needs CAP_SYS_NICE. `auto`: 1 where the process may, its threads are ordinary ones, and `gather`
   * does not say that verdicts may be late; else 0.
   * @default 'auto'
   */
  realtime?: number | 'auto';
  /**
   * Network namespace that the queue threads and rules live in: a name under /run/netns, or a path.
   * @default the process's own
   */
  netns?: string;
  /**
   * Unix socket by which other processes ask for the status and change what is owned, mode 0600: its
   * absolute path, at most 80 bytes. `auto`: NAME@INODE.sock in /run/nfq-cluster, with the inode
   * of the network namespace. `none`: no socket.
   * @default 'none'
   */
  control?: string;
}

export interface ResolvedInterface extends Shared {
  name: string;
  key: Key;
}

/** Options with every default filled in and every cross-check passed. */
export interface ResolvedOptions extends Share {
  queues: readonly number[];
  queueCpuFanout: boolean;
  interfaces: readonly ResolvedInterface[];
  policy: Policy;
  /** Of policy `clusterip` alone. */
  hashMode: HashMode;
  strict: boolean;
  hashSeed: number;
  action: 'drop' | 'mark';
  /** `direct` and `bucket` are 0 where nothing uses them. */
  marks: { owned: MaskedMark; multicast: number; decided: number; direct: number; bucket: number };
  conntrack: 'auto' | ConntrackSource;
  helpers: boolean;
  offload: readonly Offload[];
  reinject: 'accept' | 'repeat';
  rules: Rules;
  name: string;
  queueLength: number;
  receiveBuffer: number;
  gather: number;
  busyPoll: number;
  realtime: number | 'auto';
  netns: string | undefined;
  /** `none`, `auto` or a path. */
  control: string;
}
