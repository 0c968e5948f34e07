/*
 * All clients, one process in their namespace: makes the flows of the plan that it is sent, for
 * real, each from its own source address.
 */
import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import { flowKey, type ClientPlan, type Flow, type FromClients } from './protocol.js';

const AT_A_TIME = 32;
/** Milliseconds that a flow waits for its answer. */
const PATIENCE = 10_000;
/** After so many flows without an answer no further one is begun: the cluster does not work. */
const GIVE_UP = 100;
const PROGRESS_EVERY = 20;

const udpSockets: dgram.Socket[] = [];
const tell = (message: FromClients): void => void process.send!(message);

/** Adds to the flow the node that answered, if the answer is whole and to this flow's question. */
function take(flow: Flow, answer: string): boolean {
  const [, node, words] = /^(\d+) (.*)\n$/.exec(answer) ?? [];
  if (words !== flowKey(flow)) return false;
  flow.answers.push(Number(node));
  return true;
}

async function overTcp(flow: Flow, host: string, port: number): Promise<void> {
  const signal = AbortSignal.timeout(PATIENCE);
  const socket = net.connect({ host, port, localAddress: flow.source, localPort: flow.port });
  signal.addEventListener('abort', () => socket.destroy(new Error('no answer')));
  socket.write(`${flowKey(flow)}\n`);
  let answer = '';
  for await (const chunk of socket.setEncoding('latin1')) answer += chunk as string;
  take(flow, answer);
}

/** Ends with the first answer; the socket stays open and adds further ones to the flow. */
async function overUdp(flow: Flow, host: string, port: number): Promise<void> {
  const socket = dgram.createSocket(net.isIPv6(host) ? 'udp6' : 'udp4');
  udpSockets.push(socket);
  socket.on('message', (answer) => {
    if (take(flow, answer.toString('latin1'))) socket.emit('answered');
  });
  socket.bind({ address: flow.source, port: flow.port });
  await once(socket, 'listening');
  socket.send(`${flowKey(flow)}\n`, port, host);
  await once(socket, 'answered', { signal: AbortSignal.timeout(PATIENCE) });
}

process.send!('ready');
const [plan] = (await once(process, 'message')) as [ClientPlan];
const begun: Flow[] = [];
let done = 0;
let unanswered = 0;

/** Several of these draw from one list of flows. */
async function work(flows: Iterator<Flow>): Promise<void> {
  for (let next = flows.next(); next.done !== true && unanswered < GIVE_UP; next = flows.next()) {
    const flow = next.value;
    begun.push(flow);
    const host = net.isIPv6(flow.source) ? plan.servers.ipv6 : plan.servers.ipv4;
    const exchange = flow.protocol === 'tcp' ? overTcp : overUdp;
    await exchange(flow, host, plan.servers.port).catch(() => undefined); // refused, reset, timed out
    if (flow.answers.length === 0) unanswered++;
    if (++done % PROGRESS_EVERY === 0) tell({ event: 'progress', done });
  }
}

const flows = plan.flows.values();
await Promise.all(Array.from({ length: AT_A_TIME }, () => work(flows)));
tell({ event: 'finished' });
await once(process, 'message');
tell({ event: 'report', flows: begun });
await once(process, 'disconnect'); // only now is the report sure to have been read
process.exit();
