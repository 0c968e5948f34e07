/*
 * npm run build: the addon and dist. With --prepare, for npm pack and installations from git: only dist, which stays
 * as it is where there is no TypeScript to make it anew (npm ci --omit=dev).
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { buildAddon, buildTypeScript, compileTypeScript } from './builds.mjs';
import { root } from './node-gyp.mjs';
import { setUp } from './setup.mjs';
import { main } from './steps.mjs';

await main(async () => {
  if (process.argv.includes('--prepare')) {
    const built = existsSync(path.join(root, 'dist/index.js'));
    if (!built || existsSync(path.join(root, 'node_modules/typescript'))) compileTypeScript();
    return;
  }
  setUp('compile', 'node-gyp');
  await buildAddon();
  await buildTypeScript();
});
