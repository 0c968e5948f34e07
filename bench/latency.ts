/* How much later a packet arrives that was decided on its way. */
import { createInterface } from 'node:readline';
import { Namespace } from '../src/lab/namespaces.js';
import { QUIET } from '../src/lab/topology.js';
import { NODE, type Wire } from '../test/support/wire.js';
import {
  engine,
  exampleLoop,
  kernelMatch,
  noRule,
  withoutHelpers,
  type Contender,
} from './support/contenders.js';
import { processorTime, program, PROCESSOR, startPinned } from './support/process.js';
import { curve } from './support/plots.js';
import { heldUp } from './support/processors.js';
import { alternate, find, median, type Report, type Settings } from './support/results.js';
import { counts, send, settled, unanswered, within } from './support/traffic.js';

const RATE = 100_000;
const PROBE = 100;
const RECEIVER = { ipv4: '10.2.0.2', mac: '02:00:00:00:00:03' };
const PERCENTILES = [50, 90, 99] as const;

/** The knob that trades latency for processor time, from its default, 0; and others. */
const GATHER = [
  engine(''),
  ...[20, 50, 100, 200, 500].map((us) => engine(`gather ${us} µs`, ['--gather', String(us)])),
];
const OTHERS = [
  exampleLoop,
  engine('no real time', ['--realtime', '0']),
  engine('busy poll 100 µs', ['--busy-poll', '100']),
];

export async function run(report: Report, settings: Settings, directory: string): Promise<void> {
  report.note(await heldUp());
  const contenders = [noRule, kernelMatch, ...OTHERS, withoutHelpers, ...GATHER];
  await alternate(contenders, settings.rounds, (contender, round) => {
    report.progress(`latency at ${RATE}/s: round ${round + 1}, ${contender.name}`);
    return latency(report, contender, settings.seconds);
  });
  plot(report, directory);
}

/** The condition. */
export const FORWARDED = `probes among ${RATE}/s, from the sender to a receiver behind the node`;

async function latency(report: Report, contender: Contender, seconds: number): Promise<void> {
  await within(report, `${contender.name}, latency`, async (wire, round) => {
    await using receiver = await behind(wire);
    const running = await contender.start(wire.node, { totalNodes: 1, localNodes: [1] });
    const probe = await startPinned(receiver, PROCESSOR.generator, [program('probe'), 'eth0']);
    const lines = createInterface({ input: probe.stdout! });
    const found: number[] = [];
    lines.on('line', (line) => found.push(Number(line) / 1000));
    const spent = running.child === undefined ? 0 : processorTime(running.child);
    const load = { family: 4, size: 64, sources: 4096, rate: RATE, seconds, probe: PROBE } as const;
    const before = counts(wire.node);
    const { sent } = await send(wire.sender, load, { ...NODE, ipv4: RECEIVER.ipv4 });
    const used = running.child === undefined ? 0 : processorTime(running.child) - spent;
    const after = await settled(wire.node, load.family, before, sent);
    const closed = new Promise((resolve) => lines.once('close', resolve));
    probe.stdin!.end();
    await closed;
    const of = {
      bench: 'latency',
      condition: FORWARDED,
      contender: contender.name,
      better: 'lower',
    } as const;
    for (const percent of PERCENTILES) {
      const value = found[Math.ceil((percent / 100) * found.length) - 1];
      if (value !== undefined) round.add({ ...of, metric: `p${percent}`, unit: 'µs' }, value);
    }
    round.add({ ...of, metric: 'lost', unit: '%' }, (100 * unanswered(sent, before, after)) / sent);
    if (used > 0) round.add({ ...of, metric: 'time per packet', unit: 'µs' }, used / sent / 1000);
    await running.stop();
  });
}

/** A namespace behind the node, to which the node forwards. */
async function behind({ node }: Wire): Promise<Namespace> {
  const receiver = await Namespace.create();
  await receiver.sysctl(QUIET);
  await node.veth('eth1', receiver, 'eth0');
  await node.sysctl({ 'ipv4/ip_forward': 1, 'ipv4/conf/all/rp_filter': 0 });
  await receiver.ip(
    `link set eth0 address ${RECEIVER.mac} up`,
    `address add ${RECEIVER.ipv4}/24 dev eth0`,
    'route add blackhole default',
  );
  await node.ip(
    'link set eth1 up',
    'address add 10.2.0.1/24 dev eth1',
    `neighbour add ${RECEIVER.ipv4} lladdr ${RECEIVER.mac} dev eth1 nud permanent`,
  );
  return receiver;
}

/** The knob's curve, and where others stand: what a packet costs against how late it is. */
function plot({ results }: Report, directory: string): void {
  const figure = { bench: 'latency', condition: FORWARDED };
  const points = (contenders: readonly Contender[]) =>
    contenders.flatMap(({ name }) => {
      const time = find(results, { ...figure, contender: name, metric: 'time per packet' });
      const late = find(results, { ...figure, contender: name, metric: 'p50' });
      return time && late ? [{ name, x: median(time.values), y: median(late.values) }] : [];
    });
  curve(
    directory,
    `Latency against processor time at ${RATE} packets per second`,
    { x: 'processor time per packet, µs', y: 'median latency, µs' },
    points(GATHER),
    points(OTHERS),
  );
}
