/*
 * Reads exchanges as JSON (`Exchange` of exchange.ts), makes one after the other, each from all of its sources at once,
 * and ends with 0 once all were answered.
 */
import dgram from 'node:dgram';
import net from 'node:net';
import process from 'node:process';
import { json } from 'node:stream/consumers';
import { clearInterval, setInterval } from 'node:timers';

const askTcp = ({ to, port, text }, localAddress) =>
  new Promise((resolve, reject) => {
    const socket = net.connect({ port, host: to, localAddress });
    let received = 0;
    socket.on('connect', () => socket.end(text));
    socket.on('data', (data) => (received += data.length));
    socket.on('error', reject);
    socket.on('end', () => (received === text.length ? resolve() : reject(new Error('short'))));
  });

/** Far more than a datagram needs on any machine. */
const ASKS = 300;

/** Asks again each 200 ms, as datagrams may be lost. */
const askUdp =
  (refused) =>
  ({ to, port, text }, local) =>
    new Promise((resolve, reject) => {
      const [localAddress, localPort = '0'] = local?.split(',') ?? [];
      const socket = dgram.createSocket(net.isIPv6(to) ? 'udp6' : 'udp4');
      let asked = 0;
      const send = () => {
        if (++asked > ASKS) socket.emit('error', new Error(`no answer to ${localAddress}`));
        else socket.send(text);
      };
      const end = (settle) => () => {
        clearInterval(again);
        socket.close();
        settle();
      };
      const again = setInterval(send, 200);
      socket.on('error', (error) => {
        end(refused && error.code === 'ECONNREFUSED' ? resolve : () => reject(error))();
      });
      socket.on('message', end(resolve));
      socket.bind(Number(localPort), localAddress, () => socket.connect(port, to, send));
    });

const HOW = { tcp: askTcp, udp: askUdp(false), lost: askUdp(true) };

for (const { how, bytes, sources, ...rest } of await json(process.stdin)) {
  const exchange = { ...rest, text: 'x'.repeat(bytes) };
  await Promise.all(sources.map((source) => HOW[how](exchange, source)));
}
