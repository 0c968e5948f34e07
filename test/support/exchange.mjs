/*
 * Real sockets for tests, as a program: `server` answers by TCP and UDP what it gets, on every port given;
 * `tcp` and `udp` ask it from each of a list of sources and end with 0 once every answer came; `lost` sends
 * datagrams to a port where nobody listens, and ends once every refusal came. A source is ADDRESS or, for
 * datagrams, ADDRESS,PORT.
 */
import dgram from 'node:dgram';
import net from 'node:net';
import process from 'node:process';
import { clearInterval, setInterval } from 'node:timers';

const [what, address, port, bytes, ...sources] = process.argv.slice(2);
const family = net.isIP(address);
const text = 'x'.repeat(Number(bytes));

function serve() {
  const tcp = net.createServer((socket) => socket.on('error', () => {}).pipe(socket));
  const udp = dgram.createSocket(family === 4 ? 'udp4' : 'udp6');
  udp.on('message', (message, from) => udp.send(message, from.port, from.address));
  tcp.listen(Number(port), address, () => {
    udp.bind(Number(port), address, () => process.stdout.write('listening\n'));
  });
}

const askTcp = (localAddress) =>
  new Promise((resolve, reject) => {
    const socket = net.connect({ port: Number(port), host: address, localAddress });
    let received = 0;
    socket.on('connect', () => socket.end(text));
    socket.on('data', (data) => (received += data.length));
    socket.on('error', reject);
    socket.on('end', () => (received === text.length ? resolve() : reject(new Error('short'))));
  });

/** Far more than a datagram needs on any machine. */
const ASKS = 300;

/** Asks again each 200 ms, as datagrams may be lost. */
const askUdp = (refused) => (local) =>
  new Promise((resolve, reject) => {
    const [localAddress, localPort = '0'] = local?.split(',') ?? [];
    const socket = dgram.createSocket(family === 4 ? 'udp4' : 'udp6');
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
    socket.bind(Number(localPort), localAddress, () => socket.connect(Number(port), address, send));
  });

const ask = { tcp: askTcp, udp: askUdp(false), lost: askUdp(true) }[what];
if (what === 'server') {
  serve();
} else {
  await Promise.all((sources.length === 0 ? [undefined] : sources).map(ask));
}
