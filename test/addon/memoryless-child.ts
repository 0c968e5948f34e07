/* For open.test.ts: a process that comes to have no more memory tries to open an engine of very many queues, and prints the error. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { NfqClusterError } from '../../src/errors.js';
import { open } from '../../src/engine.js';
import { quiet } from './lab.js';

const queues = Array.from({ length: 60_000 }, (_, queue) => queue);
const has = Number(/VmSize:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]);
// Enough for all but the counts of so many queues, which take twice as much.
const limit = (has + 300_000) * 1024;
execFileSync('prlimit', ['--pid', `${process.pid}`, `--as=${limit}`]);
try {
  await open({ ...quiet('/proc/self/ns/net'), queues });
} catch (error) {
  const { code, message } = error as NfqClusterError;
  console.log(error instanceof NfqClusterError, code, message);
}
