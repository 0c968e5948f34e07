import { once } from 'node:events';
import { ended, type Namespace } from '../../src/lab/namespaces.js';
import { waitFor } from './processes.js';

/** All frames that pass an interface, both ways, from the moment that `capture` resolves. */
interface Capture extends AsyncDisposable {
  /** So far, whole, in order. */
  readonly frames: readonly Buffer[];
  /** Waits until a frame fits. */
  seen(what: string, fits: (frame: Buffer) => boolean): Promise<void>;
  /** Ends it; what passed before is in `frames`. */
  stop(): Promise<void>;
}

const FILE_HEADER = 24;
const RECORD_HEADER = 16;

/** Records an interface by tcpdump. */
export async function capture(namespace: Namespace, on: string, filter = ''): Promise<Capture> {
  const args = ['--immediate-mode', '-U', '-n', '-i', on, '-w', '-', ...filter.split(' ')];
  const child = namespace.spawn('tcpdump', args.filter(Boolean), {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const frames: Buffer[] = [];
  let rest = Buffer.alloc(0);
  let started = false;
  child.stdout!.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    if (!started && rest.length >= FILE_HEADER) {
      started = true;
      rest = rest.subarray(FILE_HEADER);
    }
    while (started && rest.length >= RECORD_HEADER) {
      const end = RECORD_HEADER + rest.readUInt32LE(8);
      if (rest.length < end) break;
      frames.push(rest.subarray(RECORD_HEADER, end));
      rest = rest.subarray(end);
    }
  });
  let said = '';
  child.stderr!.on('data', (chunk: Buffer) => (said += String(chunk)));
  await waitFor(
    () => `tcpdump listens: ${said}`,
    () => said.includes('listening on'),
  );
  const closed = once(child.stdout!, 'close');
  const stop = async (): Promise<void> => {
    child.kill('SIGINT');
    await Promise.all([ended(child), closed]);
  };
  return {
    frames,
    seen: (what, fits) => waitFor(what, () => frames.some(fits)),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
