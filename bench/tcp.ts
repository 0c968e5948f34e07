/* TCP to the node: what a stream reaches whose packets are decided. */
import { waitFor } from '../test/support/processes.js';
import { NODE } from '../test/support/wire.js';
import {
  engine,
  exampleLoop,
  kernelMatch,
  noRule,
  offloaded,
  statelessOffloaded,
  type Contender,
} from './support/contenders.js';
import { stop } from './support/process.js';
import { alternate, type Report, type Settings } from './support/results.js';
import { within } from './support/traffic.js';

const PORT = 5201;
export const STREAM = 'one stream to the node';

export async function run(report: Report, settings: Settings): Promise<void> {
  const contenders = [
    noRule,
    kernelMatch,
    exampleLoop,
    engine(''),
    offloaded('flows'),
    offloaded('sources'),
    statelessOffloaded,
  ];
  // They differ by more than what is looked for: three times as many, of a third.
  const seconds = Math.max(1, Math.round(settings.seconds / 3));
  await alternate(contenders, 3 * settings.rounds, (contender, round) => {
    report.progress(`tcp: round ${round + 1}, ${contender.name}`);
    return throughput(report, contender, seconds);
  });
}

/** No program is pinned: two processors, three programs. */
async function throughput(report: Report, contender: Contender, seconds: number): Promise<void> {
  await within(report, `${contender.name}, TCP`, async ({ sender, node }, round) => {
    const running = await contender.start(node, {
      totalNodes: 1,
      localNodes: [1],
      processors: '0-1',
    });
    const server = node.spawn('iperf3', ['--server', '--port', String(PORT)], { stdio: 'ignore' });
    await waitFor('the server', async () => {
      const sockets = await node.run('ss', ['--no-header', '--listening', '--tcp', '--numeric']);
      return sockets.includes(`:${PORT}`);
    });
    const flags = ['--client', NODE.ipv4, '--port', String(PORT), '--time', String(seconds)];
    flags.push('--omit', '1'); // the first second, in which the window grows
    const answer = JSON.parse(await sender.run('iperf3', [...flags, '--json'])) as {
      end: { sum_received: { bits_per_second: number } };
    };
    round.add(
      {
        bench: 'tcp',
        condition: STREAM,
        contender: contender.name,
        metric: 'throughput',
        unit: 'bit/s',
        better: 'higher',
      },
      answer.end.sum_received.bits_per_second,
    );
    await stop(server);
    await running.stop();
  });
}
