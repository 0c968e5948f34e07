import { existsSync, readFileSync } from 'node:fs';
import type { Namespace } from '../../src/lab/namespaces.js';
import { waitFor } from '../../test/support/processes.js';
import { NODE, wire, type Wire } from '../../test/support/wire.js';
import { pinned, PROCESSOR, program, startPinned } from './process.js';
import { near } from './processors.js';
import type { Report } from './results.js';

export interface Load {
  family: 4 | 6;
  /** Bytes of a frame. */
  size: number;
  sources: number;
  /** Packets per second; 0 for as many as possible. */
  rate: number;
  /** Made by an XDP program, which can more than a packet socket. */
  xdp?: boolean;
  seconds: number;
  /** Each of so many packets is a probe; none: no probes. */
  probe?: number;
}

/** What the generator says of a load. */
export interface Sent {
  sent: number;
  seconds: number;
}

/** What a node's namespace has counted. */
export interface Counts {
  /** Packets that came in by eth0. */
  received: number;
  /** Packets that the queues lost, for whatever reason. */
  lost: number;
  /** Packets that wait for their verdict. */
  held: number;
}

/** The first of a load's sources. */
export const SOURCES = { 4: '10.64.0.0', 6: 'fd02::1000:0' } as const;

/** A wire whose node takes the generator's packets at a socket that discards them. */
export async function loadedWire(): Promise<Wire> {
  const made = await wire();
  await made.node.run(
    'nft',
    ['-f', '-'],
    `add table inet passed
add chain inet passed passed { type filter hook input priority 0; }
add rule inet passed passed udp dport 9 counter
`,
  );
  await startPinned(made.node, PROCESSOR.contender, [program('discard'), '9']);
  return made;
}

/** Sends a load from the generator's processor, and waits until it has been sent. */
export async function send(
  sender: Namespace,
  { family, size, sources, rate, xdp = false, seconds, probe }: Load,
  to: { mac: string; ipv4: string; ipv6: string } = NODE,
): Promise<Sent> {
  const numbers = [sources, size, rate, seconds, ...(probe === undefined ? [] : [probe])];
  const [command, args] = pinned(PROCESSOR.generator, [
    program(xdp ? 'flood' : 'generator'),
    ...['eth0', to.mac, family === 4 ? to.ipv4 : to.ipv6, SOURCES[family]],
    ...numbers.map(String),
  ]);
  return JSON.parse(await sender.run(command, args)) as Sent;
}

/** Readies a node for a load: it has something from each source, so that flows that pass are established. */
export async function establish({ sender, node }: Wire, load: Load): Promise<void> {
  const rate = 50_000;
  // The end of a veth pair takes frames from XDP only with GRO on.
  if (load.xdp === true) await node.run('ethtool', ['--offload', 'eth0', 'gro', 'on']);
  await send(sender, { ...load, xdp: false, rate, seconds: Math.min(load.sources, 8192) / rate });
  await drained(node);
}

/** What the namespace of a process has counted so far. */
export function counts({ pid }: Namespace): Counts {
  const devices = readFileSync(`/proc/${pid}/net/dev`, 'utf8');
  const rows = queueRows(pid);
  return {
    received: Number(/eth0:\s*\d+\s+(\d+)/.exec(devices)![1]),
    lost: rows.reduce((sum, row) => sum + row[5]! + row[6]!, 0),
    held: rows.reduce((sum, row) => sum + row[2]!, 0),
  };
}

/** Queue by queue: number, port id, held, copy mode, copy range, dropped by queue, by socket. */
function queueRows(pid: number): number[][] {
  const file = `/proc/${pid}/net/netfilter/nfnetlink_queue`;
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').trim().split('\n').filter(Boolean);
  return lines.map((line) => line.trim().split(/\s+/).map(Number));
}

/** Packets that reached the socket. */
export async function passed(node: Namespace): Promise<number> {
  const rules = await node.run('nft', ['list', 'chain', 'inet', 'passed', 'passed']);
  return Number(/packets (\d+)/.exec(rules)![1]);
}

/** Waits until no packet waits for its verdict. */
export const drained = (node: Namespace): Promise<void> =>
  waitFor('an empty queue', () => counts(node).held === 0, 60_000);

/** A round on a wire of its own, which is closed even where a program in it has failed. */
export const within = <Value>(
  report: Report,
  measure: (wire: Wire, round: Report) => Promise<Value>,
): Promise<Value> =>
  near(report, async (round) => {
    await using made = await loadedWire();
    return await measure(made, round);
  });
