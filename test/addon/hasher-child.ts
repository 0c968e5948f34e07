/* For lifetime.test.ts: hashes without end in a worker thread, after saying what it got first. */
import { parentPort, workerData } from 'node:worker_threads';
import { Hasher } from '../../src/hash.js';

const [seed] = (workerData as { args: readonly string[] }).args;
const hasher = new Hasher({ hashSeed: Number(seed), buckets: 1023 });
const addresses = Uint32Array.from({ length: 1_000_000 }, (_, at) => at);
const out = new Uint16Array(addresses.length);
parentPort!.postMessage(hasher.bucketsIpv4(addresses, out).slice(0, 1000));
for (;;) hasher.bucketsIpv4(addresses, out);
