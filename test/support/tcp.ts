import { once } from 'node:events';
import type { Namespace } from '../../src/lab/namespaces.js';

/** Starts a TCP server that sends back what it gets; it ends with the namespace. */
export async function echoServer(
  namespace: Namespace,
  address: string,
  port: number,
): Promise<void> {
  const script = `require('net').createServer((s) => s.on('error', () => {}).pipe(s))
    .listen(${port}, '${address}', () => console.log('listening'))`;
  const server = namespace.spawn(process.execPath, ['-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(server.stdout!, 'data');
}

/** Connects, sends a line, and resolves with what came back until the end. */
export async function tcpExchange(
  namespace: Namespace,
  address: string,
  port: number,
  line: string,
): Promise<string> {
  const script = `const s = require('net').connect(${port}, '${address}', () => s.end('${line}'));
    s.on('error', (error) => { console.error(error.message); process.exit(1); }).pipe(process.stdout)`;
  return namespace.run(process.execPath, ['-e', script]);
}
