/* The options as a user gives them, and as options.ts resolves them. */
import type { ConntrackSource, Offload } from './conntrack.js';

/**
 * How an address is hashed to a bucket; docs/decision.md has the formulas. `jhash`: the whole address,
 * as nft's `jhash`. `xt_cluster`: as the kernel's `cluster` match, which takes only the first 32 bits of
 * an IPv6 address. `clusterip`: as the former target CLUSTERIP, for IPv4 only.
 */
export type Policy = 'jhash' | 'xt_cluster' | 'clusterip';

/** Which fields of a packet policy `clusterip` hashes: CLUSTERIP's `--hashmode`. */
export type HashMode = 'sourceip' | 'sourceip-sourceport' | 'sourceip-sourceport-destport';

/** Which address of a packet is hashed. */
export type Key = 'source' | 'destination';

/** Who writes the rules that send packets to the queue, and by which program; see `Options.rules`. */
export type Rules = 'none' | 'auto' | 'nft' | 'nft-compat' | 'xtables';

export interface InterfaceOptions {
  /** The interface's name in the engine's network namespace. */
  name: string;
  /**
   * Which address is hashed for packets that arrive here; `destination` is for the inside interface of
   * a stateless gateway.
   * @default 'source'
   */
  key?: Key;
  /**
   * Cluster addresses, which all nodes share, with their prefix length, such as `192.0.2.10/24` and
   * `2001:db8::10/64`. They are added to the interface with the rules and removed with them. They need
   * `mac` or `group`.
   * @default []
   */
  addresses?: readonly string[];
  /**
   * The cluster MAC: a multicast MAC, the same on every node, such as `03:00:c0:00:02:0a`. The interface
   * accepts frames sent to it, and ARP and neighbour discovery announce it for every cluster address.
   * @default the MAC of `group`, if there is one
   */
  mac?: string;
  /**
   * An IPv4 multicast group to join, such as `239.192.2.10`, but none of 224.0.0.0/24. Its MAC
   * (`01:00:5e:…`) is the cluster MAC, and switches with IGMP snooping learn which ports need its frames.
   */
  group?: string;
  /**
   * Which of the packets that arrive here are the cluster's. `all`: every one, as on a gateway, which
   * forwards packets to other addresses. `addresses`: only those to `addresses`, as with CLUSTERIP's
   * `-d`; all others pass undecided (under action `mark`, with the mark of an owned packet).
   * @default 'all'; with policy `clusterip`, 'addresses' if there are any
   */
  destinations?: Destinations;
}

/**
 * A value for the bits of a mask, as in `iptables -j MARK --set-xmark VALUE/MASK`; both from 0 to
 * 0xffffffff.
 */
export interface MaskedMark {
  value: number;
  mask: number;
}

export interface MarkOptions {
  /**
   * What is set in the mark of an owned packet under action `mark`, and cleared from every other. The
   * value is not 0 and lies within the mask.
   * @default { value: 0xffff, mask: 0xffff }
   */
  owned?: MaskedMark;
  /**
   * One bit. Ahead of the queue it says that the packet came in a link-layer multicast frame. Behind
   * the queue, with `rules: 'none'` or policy `clusterip`, it tells a rule to set the packet's pkt_type to
   * HOST; all other rules have done that ahead of the queue.
   * @default 0x40000000
   */
  multicast?: number;
  /**
   * One bit: the engine has decided this packet. Used only with `reinject: 'repeat'`, and by rules of
   * xtables.
   * @default 0x80000000
   */
  decided?: number;
  /**
   * One bit, set ahead of the queue: the packet goes in its connection's original direction, its
   * connection has no master, and it is no ICMP error, so its own source is the key. Refused where
   * conntrack is off.
   * @default 0x20000000; 0, which is unused, with `rules: 'none'`: the rule that sets it would be yours
   */
  direct?: number;
  /**
   * Adjacent bits, enough for the number of buckets. With conntrack `mark` or `offload`, the rules keep a
   * connection's bucket plus 1 in these bits of its connmark, and pass it to the engine in the packet's
   * mark. With policy `clusterip`, the engine passes a packet's node to the rules behind the queue in
   * them. Refused where neither applies, and with offload where conntrack is off.
   * @default 0x03ff0000
   */
  bucket?: number;
}

export interface Options {
  /**
   * NFQUEUE numbers, 0 to 65,535, with a native thread for each. Several must be consecutive.
   * @default [0]
   */
  queues?: readonly number[];
  /**
   * Spreads packets over the queues by the processor that handles them (its number modulo the number of
   * queues), not by a hash of their addresses: `--queue-cpu-fanout`. A queue's thread then runs on these
   * processors, if the process may use any of them. Needs several queues, and `rules` other than `none`.
   * docs/setup.md says when it helps, and what keeps a flow's packets in order.
   * @default false
   */
  queueCpuFanout?: boolean;
  /** The interfaces whose incoming packets are decided, 1 to 64; a name alone means `{ name }`. */
  interfaces: readonly (string | InterfaceOptions)[];
  /**
   * How an address is hashed; the same on every node.
   * @default 'jhash'
   */
  policy?: Policy;
  /**
   * What is hashed of a packet; only for policy `clusterip`.
   * @default 'sourceip'
   */
  hashMode?: HashMode;
  /**
   * Only for policy `clusterip`: behave exactly as the original, including its faults, which
   * docs/clusterip.md lists.
   * @default false
   */
  strict?: boolean;
  /** `--cluster-hash-seed`, or CLUSTERIP's `--hash-init`: 0 to 0xffffffff, the same on every node. */
  hashSeed: number;
  /**
   * The number of nodes, 1 to 32 (with `strict` 0 to 16): `--cluster-total-nodes`. Node n owns bucket
   * n - 1. Exactly one of this and `buckets` is given.
   */
  totalNodes?: number;
  /**
   * This node's number or numbers, from 1 to `totalNodes`: `--cluster-local-node`. With `totalNodes`,
   * exactly one of this, `localNodemask` and `ownership` is given.
   */
  localNode?: number | readonly number[];
  /** The same as a mask, in which bit n - 1 stands for node n: `--cluster-local-nodemask`. */
  localNodemask?: number;
  /**
   * Own what the local nodes do not: `!` before `--cluster-local-node`. Malformed, INVALID and untracked
   * packets stay foreign all the same. Not with `ownership`.
   * @default false
   */
  invert?: boolean;
  /** The number of fine-grained buckets, 1 to 1,023, in place of `totalNodes`. Needs `ownership`. */
  buckets?: number;
  /** What is owned at the start, in place of `localNode` or `localNodemask`. */
  ownership?: OwnershipInput;
  /**
   * `drop`: foreign packets are dropped. `mark`: every packet passes, and owned ones carry
   * `marks.owned`, so that rules of your own can tell them apart.
   * @default 'drop'
   */
  action?: 'drop' | 'mark';
  /** The bits of a packet's mark that this package uses, without overlap; all others are left alone. */
  marks?: MarkOptions;
  /**
   * How the engine learns the original direction of a packet's connection, and its master. `queue`: from
   * the queue's messages, to which the kernel attaches the connection. `netlink`: by asking ctnetlink and
   * listening to its expectation events. `mark`: from the connmark, in which the rules keep the bucket;
   * where there is none, by asking ctnetlink. `off`: not at all, the packet's own header is the key.
   * `auto`: `queue` if the kernel supports it, else `netlink`; `off` for policy `clusterip`, and where an
   * interface has the key `destination`.
   * @default 'auto'
   */
  conntrack?: 'auto' | ConntrackSource;
  /**
   * Whether conntrack's helpers (FTP, SIP, TFTP) may follow connections here. `false` says that no rule
   * assigns one: with conntrack `netlink` the engine then does not listen to what they announce, and the
   * kernel keeps less for each connection, which saves a few percent of the time per packet. Should a
   * helper expect a connection all the same, it is unknown, and so foreign, unless its connmark holds the
   * bucket. Where connmarks hold buckets (conntrack `mark`, `offload`), the engine never listens.
   * @default true
   */
  helpers?: boolean;
  /**
   * What the kernel decides by itself, without the queue. `flows`: packets of connections whose bucket
   * their connmark holds. `sources`: new connections as well, whose source the kernel hashes with nft's
   * jhash; where conntrack is off, all packets (and `flows` is refused). The owned buckets are then also
   * kept in sets of the nft table, whose elements expire with the ownership. Needs `rules` other than
   * `none`, and a policy other than `clusterip`. docs/connections.md says what it costs.
   * @default []
   */
  offload?: readonly Offload[];
  /**
   * How a packet that passes returns to the kernel: `accept` goes on to the next hook, `repeat` runs the
   * queueing hook again with `marks.decided` set, so that xtables rules behind the queue rule still see
   * the packet. Refused unless rules are `none`: rules that are installed determine it.
   * @default 'accept'
   */
  reinject?: 'accept' | 'repeat';
  /**
   * Whether to install rules, which close() removes, and by what. `nft`: nft's `queue` statement.
   * `nft-compat`: xtables' NFQUEUE in an nft chain. `xtables`: NFQUEUE by iptables and ip6tables, where a
   * packet passes two hooks rather than one. `auto`: the first of these that the kernel supports. `none`:
   * you write the rules yourself.
   * @default 'none'; 'auto' for plan(), apply(), status() and doctor()
   */
  rules?: Rules;
  /**
   * Names the rules (`nfq-cluster-NAME`), so that a later run finds and replaces them: 1 to 16 characters
   * of a-z, 0-9, `-` and `_`, not beginning with `-`.
   * @default `q` and the first queue number, such as 'q0'
   */
  name?: string;
  /**
   * Packets that the kernel holds for each queue before it drops further ones; 1 to 4,294,967,295.
   * @default 16384
   */
  queueLength?: number;
  /**
   * Bytes of receive buffer to ask for on each queue's socket, 4,096 to 1,073,741,823. More than
   * net.core.rmem_max is granted only with CAP_NET_ADMIN in the initial user namespace;
   * `stats().receiveBuffer` says what was.
   * @default 33554432
   */
  receiveBuffer?: number;
  /**
   * Microseconds, 0 to 10,000, that a queue thread sleeps once it has answered all packets that waited:
   * larger batches at the price of later verdicts. A packet that arrives while the thread waits for one
   * is still answered at once.
   * @default 0
   */
  gather?: number;
  /**
   * Microseconds, 0 to 10,000, that a queue thread keeps polling when no packet waits, at the price of
   * its processor: verdicts are in time even where sleeping threads are woken late. To never sleep between
   * packets, give several times the interval between them.
   * @default 0
   */
  busyPoll?: number;
  /**
   * SCHED_FIFO priority (sched(7)) of the queue threads and no others of the process, 1 to 99, so that
   * they run ahead of all ordinary threads and verdicts are in time beside other work; 0 for the ordinary
   * scheduler. A thread that has used nine tenths of 10 ms, as in a flood, is an ordinary one for the next
   * 100 ms. Needs CAP_SYS_NICE. `auto`: 1 if the process is permitted to, its threads are ordinary ones
   * that may run without sleep (RLIMIT_RTTIME, by which the kernel would kill it) and `gather` is 0; else 0.
   * @default 'auto'
   */
  realtime?: number | 'auto';
  /**
   * The network namespace of the queue threads and the rules: a name under /run/netns, or an absolute
   * path.
   * @default the process's own
   */
  netns?: string;
  /**
   * The Unix socket, mode 0600, by which other processes ask for the status and change what is owned:
   * an absolute path of at most 80 bytes. `auto`: /run/nfq-cluster/NAME@INODE.sock, with the inode of the
   * network namespace. `none`: no socket.
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
  /** Means something for policy `clusterip` alone, as does `strict`. */
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
  /** `none`, `auto` or an absolute path. */
  control: string;
}

/** Buckets (from 0) or nodes (from 1) to own, and for how long. */
export type OwnershipInput = ({ buckets: readonly number[] } | { nodes: readonly number[] }) & {
  /**
   * Milliseconds from now after which nothing is owned; time in suspend counts. More than a hundred years
   * mean Infinity.
   * @default Infinity
   */
  validFor?: number;
};

export interface Share {
  /** The number of buckets: `totalNodes`, or `buckets`. */
  buckets: number;
  /** Whether `totalNodes` was given, so that what is owned may be named by `nodes`. */
  classic: boolean;
  /** The buckets owned at the start, ascending, with `invert` applied. */
  owned: readonly number[];
  /** Milliseconds until nothing is owned, or Infinity. */
  validFor: number;
}

/** An address that all nodes share, on one interface. */
export interface ClusterAddress {
  /** As the kernel prints it: in lower case, without needless zeros. */
  address: string;
  prefix: number;
  family: 4 | 6;
}

/** Which of the packets that arrive on an interface are the cluster's; see `InterfaceOptions.destinations`. */
export type Destinations = 'all' | 'addresses';

/** What the nodes share on one interface. */
export interface Shared {
  addresses: readonly ClusterAddress[];
  /** Lower case, with colons; undefined where nothing is shared. */
  mac: string | undefined;
  /** The IPv4 multicast group that is joined, so that switches learn which ports need the MAC's frames. */
  group: string | undefined;
  destinations: Destinations;
}
