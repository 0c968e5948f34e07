/* For setup-failure.test.ts: an engine in a process that comes to have as many files as it may. Its options come as JSON. */
import { closeSync, openSync } from 'node:fs';
import { open, type NfqClusterError, type Options } from '../../src/index.js';

const engine = await open(JSON.parse(process.argv[2]!) as Options);
async function change(node: number): Promise<string> {
  try {
    await engine.setOwnership({ nodes: [node] });
    return 'changed';
  } catch (error) {
    const { code, errno } = error as NfqClusterError;
    return `${code} ${errno}`;
  }
}

const files: number[] = [];
try {
  for (;;) files.push(openSync('/dev/null', 'r'));
} catch {
  console.log(await change(2));
}
for (const file of files) closeSync(file);
console.log(await change(2), engine.ownership.buckets);
await engine.close();
