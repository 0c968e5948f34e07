/* For setup-failure.test.ts: an engine in a process that comes to have as many files as it may. Its options come as JSON. */
import { closeSync, openSync } from 'node:fs';
import { findConnection, open, type NfqClusterError, type Options } from '../../src/index.js';

const engine = await open(JSON.parse(process.argv[2]!) as Options);
const change = (node: number): Promise<string> => outcomeOf(engine.setOwnership({ nodes: [node] }));
const flow = { src: '10.1.0.1', dst: '10.1.0.2', protocol: 6 };

async function outcomeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'done';
  } catch (error) {
    const { code, errno, remedy = '' } = error as NfqClusterError;
    return `${code} ${errno} ${remedy.includes('ulimit -n')}`;
  }
}

const files: number[] = [];
function fill(): void {
  try {
    for (;;) files.push(openSync('/dev/null', 'r'));
  } catch {
    // Now there are as many as may be.
  }
}

fill();
const changed = await change(2);
fill();
console.log(changed, await outcomeOf(findConnection(flow, '/proc/self/ns/net')));
for (const file of files) closeSync(file);
console.log(await change(2), engine.ownership.buckets);
await engine.close();
