/* For open.test.ts: a process that may start no more threads tries to open an engine, prints the error, and asks why. */
import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { NfqClusterError } from '../../src/errors.js';
import { doctor } from '../../src/doctor/index.js';
import { open } from '../../src/engine.js';
import { quiet } from './lab.js';

await readFile(import.meta.filename); // Node.js has its own threads by now
execFileSync('prlimit', ['--pid', `${process.pid}`, '--nproc=1']);
try {
  await open(quiet('/proc/self/ns/net'));
} catch (error) {
  const { code, errno, syscall } = error as NfqClusterError;
  console.log(error instanceof NfqClusterError, code, errno, syscall);
}
const { findings } = await doctor();
console.log(findings.find(({ check }) => check === 'NFQUEUE')!.found);
