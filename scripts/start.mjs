/* npm start: the laboratory, built and run. Its arguments are ours. */
import path from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { buildAddon, buildTypeScript } from './builds.mjs';
import { root } from './node-gyp.mjs';
import { setUp } from './setup.mjs';
import { main } from './steps.mjs';

await main(async () => {
  setUp('compile', 'node-gyp', 'run');
  await buildAddon();
  await buildTypeScript();
});

// In this process, so that signals and the exit status need no passing on.
const laboratory = path.join(root, 'dist/lab/main.js');
process.argv[1] = laboratory;
await import(pathToFileURL(laboratory).href);
