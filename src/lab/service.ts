/*
 * The service behind the shared addresses, one process in each node's namespace:
 * `service.js NODE PORT ADDRESS…`. To "WORD\n" it answers "NODE WORD\n", over TCP and UDP.
 */
import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';

const [node, port, ...addresses] = process.argv.slice(2) as [string, string, ...string[]];

const answer = (question: string): string => `${node} ${question}`;

async function serveTcp(host: string): Promise<void> {
  const server = net.createServer((socket) => {
    socket.setEncoding('latin1');
    socket.on('error', () => socket.destroy());
    let question = '';
    socket.on('data', (chunk) => {
      question += String(chunk);
      if (question.endsWith('\n')) socket.end(answer(question));
    });
  });
  server.listen({ host, port: Number(port), backlog: 1024 });
  await once(server, 'listening');
}

async function serveUdp(address: string): Promise<void> {
  const socket = dgram.createSocket(net.isIPv6(address) ? 'udp6' : 'udp4');
  socket.on('message', (question, { address: client, port: clientPort }) =>
    socket.send(answer(question.toString('latin1')), clientPort, client),
  );
  socket.bind({ address, port: Number(port) });
  await once(socket, 'listening');
}

await Promise.all(addresses.flatMap((address) => [serveTcp(address), serveUdp(address)]));
process.send!('ready');
