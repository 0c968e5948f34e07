/*
 * Read requests as TFTP has them, as a program: `server` answers each at once by a data packet from a port of
 * its own; `client` makes COUNT of them, each from a port of its own, and ends with 0 once all are answered.
 */
import dgram from 'node:dgram';
import process from 'node:process';
import { clearTimeout, setTimeout } from 'node:timers';

const [what, address, count, ...sources] = process.argv.slice(2);
const PORT = 69;
const AT_ONCE = 40;
const PATIENCE_MS = 60_000;
const REQUEST = Buffer.from('\0\x01file\0octet\0', 'latin1');
const DATA = Buffer.from('\0\x03\0\x01data', 'latin1');

function serve() {
  const requests = dgram.createSocket('udp4');
  requests.on('message', (_, { address: client, port }) => {
    const transfer = dgram.createSocket('udp4');
    transfer.send(DATA, port, client, () => transfer.close());
  });
  requests.bind(PORT, address, () => process.stdout.write('listening\n'));
}

/** Asks once: a request that is lost is not asked again, and the program fails. */
const read = (source) =>
  new Promise((resolve, reject) => {
    const socket = dgram.createSocket('udp4');
    const lost = setTimeout(() => reject(new Error(`no answer to ${source}`)), PATIENCE_MS);
    socket.on('message', () => {
      clearTimeout(lost);
      socket.close(resolve);
    });
    socket.bind(0, source, () => socket.send(REQUEST, PORT, address));
  });

if (what === 'server') {
  serve();
} else {
  let left = Number(count);
  const reader = async () => {
    while (left > 0) await read(sources[left-- % sources.length]);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, reader));
}
