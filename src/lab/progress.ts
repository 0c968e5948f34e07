import type { WriteStream } from 'node:tty';
import type { Progress } from './traffic.js';

const QUARTERS = 4;

/** Shows progress on one line of a terminal, else by a line at every quarter. */
export function progressOn(
  stream: WriteStream | (NodeJS.WritableStream & { isTTY?: false }),
): Progress {
  let shown = 0;
  return (done, of) => {
    const steps = stream.isTTY ? 100 : QUARTERS;
    const step = Math.floor((done / of) * steps);
    if (step === shown) return;
    shown = step;
    const line = `${done.toLocaleString('en')} of ${of.toLocaleString('en')} flows`;
    if (stream.isTTY) stream.write(`\r${line}${done === of ? '\n' : ''}`);
    else stream.write(`${line}\n`);
  };
}
