/*
 * As much of active FTP as conntrack's helper reads: `node ftp.mjs server PORT ADDRESS...` listens, and opens a data
 * connection from port 20 to where a client says; `node ftp.mjs client PAIRS` asks for one between each pair of
 * addresses, given as JSON, and prints those that had none within five seconds.
 */
import net from 'node:net';
import process from 'node:process';
import { clearTimeout, setTimeout } from 'node:timers';

const CONTROL = 21;
const DATA = 20;
const [role, ...given] = process.argv.slice(2);

/** Calls `take` with each line that arrives. */
function lines(socket, take) {
  let rest = '';
  socket.on('data', (text) => {
    const all = `${rest}${text}`.split('\r\n');
    rest = all.pop();
    all.forEach(take);
  });
  // Some connections are to fail.
  socket.on('error', () => undefined);
}

function answer(control) {
  lines(control, (line) => {
    if (!line.startsWith('PORT ')) return control.write('331\r\n');
    const numbers = line.slice('PORT '.length).split(',');
    const [high, low] = numbers.slice(4).map(Number);
    const data = net.connect({
      host: numbers.slice(0, 4).join('.'),
      port: high * 256 + low,
      localAddress: control.localAddress,
      localPort: DATA,
    });
    data.on('error', () => undefined);
    data.end('contents');
    return undefined;
  });
}

/** Whether the server at `dst` sends something to `src` and this port of it. */
const hasData = ({ src, dst, port }) =>
  new Promise((resolve) => {
    const listener = net.createServer((data) => {
      data.on('error', () => undefined);
      data.on('data', () => end(true));
    });
    const commands = [
      'USER anonymous',
      `PORT ${src.replaceAll('.', ',')},${port >> 8},${port & 255}`,
    ];
    const control = net.connect({ host: dst, port: CONTROL, localAddress: src });
    const late = setTimeout(() => end(false), 5000);
    function end(had) {
      clearTimeout(late);
      control.destroy();
      listener.close();
      resolve(had);
    }
    const next = () => commands.length > 0 && control.write(`${commands.shift()}\r\n`);
    lines(control, next);
    listener.listen(port, src, () => (control.connecting ? control.once('connect', next) : next()));
  });

if (role === 'server') {
  const listening = given.map(
    (address) =>
      new Promise((resolve) => net.createServer(answer).listen(CONTROL, address, resolve)),
  );
  await Promise.all(listening);
  process.stdout.write('listening\n');
} else {
  const pairs = JSON.parse(given[0]);
  const had = await Promise.all(pairs.map(hasData));
  process.stdout.write(JSON.stringify(pairs.filter((_, index) => !had[index])));
  process.exit();
}
