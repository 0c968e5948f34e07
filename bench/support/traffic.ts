import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { ended, type Namespace } from '../../src/lab/namespaces.js';
import { waitFor } from '../../test/support/processes.js';
import { NODE, wire, type Wire } from '../../test/support/wire.js';
import { ContenderFailed, pinned, PROCESSOR, program, startPinned } from './process.js';
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
  /** Half of the packets, and of 4,096 sources, come by each processor, as from a network card with RSS. */
  everywhere?: boolean;
  /** The node receives it on the contender's processor (RPS), and the generator has its own to itself. */
  steered?: boolean;
  /** Each source has sent before; without, only the first 8,192 have. */
  known?: boolean;
  seconds: number;
  /** Each of so many packets is a probe; none: no probes. */
  probe?: number;
}

/** What the generator says of a load. */
interface Sent {
  /** Packets that the kernel took from it. */
  sent: number;
  seconds: number;
}

/** What a node's namespace has counted. */
export interface Counts {
  /** Packets of the family that came in, ahead of every rule; those of IPv6 to a multicast address are no load's. */
  received: number;
  /** Packets that the queues lost, for whatever reason. */
  lost: number;
  /** Packets that wait for their verdict. */
  held: number;
}

/** The first of a load's sources. */
export const SOURCES = { 4: '10.64.0.0', 6: 'fd02::1000:0' };
/** The first of the second half of 4,096. */
const SECOND_HALF = { 4: '10.64.8.0', 6: 'fd02::1000:800' };

/** What a load asks of its wire. */
type Way = Pick<Load, 'everywhere' | 'steered'>;

/** A wire whose node takes the generator's packets at a socket that discards them. */
async function loadedWire({ everywhere, steered }: Way): Promise<Wire> {
  const made = await wire({ queues: everywhere === true ? 2 : 1 });
  if (steered === true) await steer(made.node);
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

async function steer(node: Namespace): Promise<void> {
  const mask = (1 << Number(PROCESSOR.contender)).toString(16);
  await node.run(
    'unshare', // for a /sys that shows the namespace's interfaces
    ['--mount', 'sh', '-e'],
    `mount -t sysfs sysfs /sys
echo ${mask} >/sys/class/net/eth0/queues/rx-0/rps_cpus
`,
  );
}

/** Sends a load from the generator's processor, or from both, and waits until it has been sent. */
export async function send(
  sender: Namespace,
  { everywhere = false, ...load }: Load,
  to = NODE,
): Promise<Sent> {
  if (!everywhere) return sendFrom(PROCESSOR.generator, SOURCES, sender, load, to);
  const half = { ...load, sources: load.sources / 2, rate: load.rate / 2 };
  const [one, other] = await Promise.all([
    sendFrom(PROCESSOR.generator, SOURCES, sender, half, to),
    sendFrom(PROCESSOR.contender, SECOND_HALF, sender, half, to),
  ]);
  return { sent: one.sent + other.sent, seconds: Math.max(one.seconds, other.seconds) };
}

async function sendFrom(
  processor: string,
  first: typeof SOURCES,
  sender: Namespace,
  { family, size, sources, rate, xdp = false, seconds, probe }: Load,
  to: typeof NODE,
): Promise<Sent> {
  const numbers = [sources, size, rate, seconds, ...(probe === undefined ? [] : [probe])];
  const [command, args] = pinned(processor, [
    program(xdp ? 'flood' : 'generator'),
    ...['eth0', to.mac, family === 4 ? to.ipv4 : to.ipv6, first[family]],
    ...numbers.map(String),
  ]);
  return JSON.parse(await sender.run(command, args)) as Sent;
}

/**
 * Readies a node for a load: it has something from each source, of the first 8,192, and answers what passes, so that
 * these connections are established.
 */
export async function establish({ sender, node }: Wire, load: Load): Promise<void> {
  const rate = 50_000;
  // The end of a veth pair takes frames from XDP only with GRO on.
  if (load.xdp === true) await node.run('ethtool', ['--offload', 'eth0', 'gro', 'on']);
  const address = load.family === 4 ? NODE.ipv4 : NODE.ipv6;
  const answer = await startPinned(node, PROCESSOR.contender, [program('answer'), address, '9']);
  const sources = Math.min(load.sources, 8192);
  // Again where the generator was held up, so that not each had its turn.
  for (let [sent, seconds] = [0, (1.5 * sources) / rate]; sent < sources; seconds *= 2) {
    const before = counts(node, load.family);
    ({ sent } = await send(sender, { ...load, xdp: false, rate, seconds }));
    await settled(node, load.family, before, sent);
  }
  answer.stdin!.end();
  await ended(answer);
  if (load.known !== true) return;
  await send(sender, { ...load, seconds: (1.05 * load.sources) / load.rate });
  await drained(node);
}

/** Waits until all that was sent has come in, or a tenth of a second, and then for all verdicts. */
export async function settled(
  node: Namespace,
  family: Load['family'],
  before: Counts,
  sent: number,
): Promise<Counts> {
  const missing = (): boolean => counts(node, family).received - before.received < sent;
  const end = performance.now() + 100;
  while (missing() && performance.now() < end) await delay(5);
  await drained(node);
  return counts(node, family);
}

/** Of so many packets, those that got no verdict, wherever they were lost. */
export function unanswered(sent: number, before: Counts, after: Counts): number {
  const decided = after.received - before.received - (after.lost - before.lost);
  return Math.max(0, sent - decided);
}

/** What the namespace of a process has counted so far. */
export function counts({ pid }: Namespace, family: Load['family'] = 4): Counts {
  const rows = queueRows(pid);
  return {
    received: family === 4 ? ipv4Received(pid) : ipv6Received(pid),
    lost: rows.reduce((sum, row) => sum + row[5]! + row[6]!, 0),
    held: rows.reduce((sum, row) => sum + row[2]!, 0),
  };
}

const procNet = (pid: number, file: string): string =>
  readFileSync(`/proc/${pid}/net/${file}`, 'utf8');

/* Not the interface's count, which has other protocols, and what was lost before it came to IP. */
const ipv4Received = (pid: number): number =>
  Number(/^Ip: \d+ \d+ (\d+)/m.exec(procNet(pid, 'snmp'))![1]);

function ipv6Received(pid: number): number {
  const counters = procNet(pid, 'snmp6');
  const of = (name: string): number =>
    Number(new RegExp(`^Ip6${name}\\s+(\\d+)`, 'm').exec(counters)![1]);
  return of('InReceives') - of('InMcastPkts');
}

/** How many UDP connections are known, and how many of them an answer was seen of; none where the kernel lists none. */
export function connections({ pid }: Namespace): { known: number; answered: number } | undefined {
  if (!existsSync(`/proc/${pid}/net/nf_conntrack`)) return undefined;
  const known = procNet(pid, 'nf_conntrack')
    .split('\n')
    .filter((line) => /\budp\b/.test(line));
  const answered = known.filter((line) => !line.includes('[UNREPLIED]'));
  return { known: known.length, answered: answered.length };
}

/** Connections that gave way to new ones, or found no room, as the table was full. */
export function evicted({ pid }: Namespace): number {
  if (!existsSync(`/proc/${pid}/net/stat/nf_conntrack`)) return 0;
  const [names, ...processors] = procNet(pid, 'stat/nf_conntrack')
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/));
  const columns = ['drop', 'early_drop'].map((name) => names!.indexOf(name));
  return processors
    .flatMap((row) => columns.map((column) => Number.parseInt(row[column]!, 16)))
    .reduce((sum, value) => sum + value, 0);
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

/**
 * A round on a wire of its own, which is closed even where a program in it has failed. Where that was the
 * contender's, the report notes that the round is missing.
 * @param what the contender and the condition
 * @param way the load that the wire is for
 */
export async function within(
  report: Report,
  what: string,
  measure: (wire: Wire, round: Report) => Promise<void>,
  way: Way = {},
): Promise<void> {
  try {
    await near(report, async (round) => {
      await using made = await loadedWire(way);
      await measure(made, round);
    });
  } catch (error) {
    if (!(error instanceof ContenderFailed)) throw error;
    report.fail(`${what}: a round is missing: ${error.message}`);
  }
}
