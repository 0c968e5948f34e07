/*
 * One end of a gateway laboratory. `endpoint.mjs serve PORT ADDRESS…` sends back what comes, over TCP and UDP.
 * `endpoint.mjs ask` reads flows as JSON, makes each by a real exchange of `size` bytes, and prints those
 * that were not answered.
 */
import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import process from 'node:process';
import { json } from 'node:stream/consumers';

const PATIENCE = 3000;
const AT_A_TIME = 16;
const datagrams = (address) => dgram.createSocket(net.isIPv6(address) ? 'udp6' : 'udp4');

async function serve(port, address) {
  const server = net.createServer((socket) => socket.on('error', () => undefined).pipe(socket));
  server.listen({ port, host: address });
  const socket = datagrams(address);
  socket.on('message', (data, from) => socket.send(data, from.port, from.address));
  socket.bind({ port, address });
  await Promise.all([once(server, 'listening'), once(socket, 'listening')]);
}

async function overTcp({ src, sport, dst, dport, size }, signal) {
  const socket = net.connect({ host: dst, port: dport, localAddress: src, localPort: sport });
  signal.addEventListener('abort', () => socket.destroy(new Error('no answer')));
  socket.end(Buffer.alloc(size, 'x'));
  let bytes = 0;
  for await (const chunk of socket) bytes += chunk.length;
  return bytes === size;
}

async function overUdp({ src, sport, dst, dport, size }, signal) {
  const socket = datagrams(src);
  socket.bind({ address: src, port: sport });
  await once(socket, 'listening');
  socket.send(Buffer.alloc(size, 'x'), dport, dst);
  try {
    const [answer] = await once(socket, 'message', { signal });
    return answer.length === size;
  } finally {
    socket.close();
  }
}

async function ask(flows) {
  const silent = [];
  const next = flows.values();
  const work = async () => {
    for (const flow of next) {
      const exchange = flow.protocol === 'tcp' ? overTcp : overUdp;
      const answered = await exchange(flow, AbortSignal.timeout(PATIENCE)).catch(() => false);
      if (!answered) silent.push(flow);
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, work));
  return silent;
}

const [role, port, ...addresses] = process.argv.slice(2);
if (role === 'serve') {
  await Promise.all(addresses.map((address) => serve(Number(port), address)));
  process.stdout.write('listening\n');
} else {
  process.stdout.write(JSON.stringify(await ask(await json(process.stdin))));
}
