/* npm run build: the addon and dist. With --typescript, as npm pack needs it: dist alone. */
import process from 'node:process';
import { buildAddon, buildTypeScript, compileTypeScript } from './builds.mjs';
import { setUp } from './setup.mjs';
import { main } from './steps.mjs';

await main(async () => {
  if (process.argv.includes('--typescript')) {
    compileTypeScript();
    return;
  }
  setUp('compile', 'node-gyp');
  await buildAddon();
  await buildTypeScript();
});
