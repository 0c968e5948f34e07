/* npm run bench: bench/*.bench.ts one after the other; `npm run bench -- WORD` picks by name. */
import process from 'node:process';
import { buildAddon, buildTypeScript, buildWithCMake } from './builds.mjs';
import { filesBelow } from './fingerprint.mjs';
import { root } from './node-gyp.mjs';
import { setUp } from './setup.mjs';
import { Failure, foreground, main } from './steps.mjs';

await main(async () => {
  const words = process.argv.slice(2);
  const files = filesBelow('bench')
    .filter((file) => file.endsWith('.bench.ts'))
    .filter((file) => words.length === 0 || words.some((word) => file.includes(word)));
  if (files.length === 0)
    throw new Failure(`no bench/*.bench.ts has ${words.join(' or ')} in its name.`);
  setUp('compile', 'node-gyp', 'cmake', 'run');
  await buildAddon();
  await buildWithCMake();
  await buildTypeScript();
  for (const file of files) {
    const status = await foreground(process.execPath, ['--import', 'tsx', file], { cwd: root });
    if (status !== 0) return status;
  }
});
