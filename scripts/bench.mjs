/* npm run bench: builds what bench/main.ts needs, and starts it; `npm run bench -- --help`. */
import path from 'node:path';
import process from 'node:process';
import { buildAddon, buildTypeScript, buildWithCMake } from './builds.mjs';
import { once } from './fingerprint.mjs';
import { root } from './node-gyp.mjs';
import { setUp } from './setup.mjs';
import { foreground, main, step } from './steps.mjs';

/** The packages that we are compared with; npm leaves out those that it fails to build. */
const installPeers = () =>
  once(
    'peers',
    {
      inputs: ['bench/peers/package.json'],
      output: 'bench/peers/node_modules',
    },
    () =>
      step('installing the packages to compare with', 'npm', ['install', '--no-package-lock'], {
        cwd: path.join(root, 'bench/peers'),
      }),
  );

await main(async () => {
  setUp('compile', 'node-gyp', 'cmake', 'run', 'bench');
  await buildAddon();
  await buildWithCMake();
  await buildTypeScript();
  await installPeers();
  const args = ['--import', 'tsx', 'bench/main.ts', ...process.argv.slice(2)];
  return foreground(process.execPath, args, { cwd: root });
});
