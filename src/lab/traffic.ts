import { on } from 'node:events';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { NfqClusterError } from '../errors.js';
import { heldPackets, QUEUE_TABLE } from '../setup/held.js';
import { ended, type Namespace } from './namespaces.js';
import { startProgram } from './programs.js';
import type { Flow, FromClients } from './protocol.js';
import { SHARED, type Topology } from './topology.js';

/** Called with the number of flows that have been made, of how many. */
export type Progress = (done: number, of: number) => void;

/** Lets the clients make a TCP connection and a UDP exchange from each source address. */
export async function makeFlows(
  { clients, nodes }: Topology,
  sources: readonly string[],
  progress: Progress,
): Promise<Flow[]> {
  const flows = plannedFlows(sources);
  const child = await startProgram(clients, 'clients');
  const told = on(child, 'message', { close: ['disconnect'] }) as AsyncIterableIterator<
    [FromClients]
  >;
  child.send({ servers: SHARED, flows });
  for await (const [message] of told) {
    if (message.event === 'progress') progress(message.done, flows.length);
    else if (message.event === 'report') {
      child.disconnect();
      return message.flows;
    } else {
      await Promise.all(nodes.map(settled));
      child.send('report');
    }
  }
  throw new NfqClusterError('ERR_SYSTEM', `The clients ended early, with ${await ended(child)}`);
}

function plannedFlows(sources: readonly string[]): Flow[] {
  return sources.flatMap((source, index) => {
    const flow = { source, port: 49_152 + (index % 16_384) };
    return [
      { protocol: 'tcp', ...flow, answers: [] },
      { protocol: 'udp', ...flow, answers: [] },
    ];
  });
}

/** Waits, but not for ever, until no packet is held in a queue of the node: a late answer is an answer. */
async function settled(node: Namespace): Promise<void> {
  for (const deadline = Date.now() + 5000; Date.now() < deadline; await delay(10)) {
    const queues = await readFile(`/proc/${node.pid}/net/${QUEUE_TABLE}`, 'utf8');
    if (heldPackets(queues) === 0) return;
  }
}
