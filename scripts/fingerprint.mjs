/* Remembers what a step was done with, so that it is done again only if that has changed. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { root } from './node-gyp.mjs';

const GENERATED = /^(build(-.*)?|node_modules)$/;

/** Every file at or below a path of the package, sorted; none if there is no such path. */
export function filesBelow(relative) {
  const absolute = path.join(root, relative);
  if (!existsSync(absolute)) return [];
  if (statSync(absolute).isFile()) return [relative];
  return readdirSync(absolute)
    .filter((name) => !GENERATED.test(name))
    .sort()
    .flatMap((name) => filesBelow(path.join(relative, name)));
}

function fingerprint(inputs) {
  // Builds hold absolute paths, so a moved package is another one.
  const hash = createHash('sha256').update(`${root} ${process.platform} ${process.arch}`);
  for (const file of inputs.flatMap(filesBelow)) {
    hash.update(`\n${file}\n`).update(readFileSync(path.join(root, file)));
  }
  return hash.digest('hex');
}

/**
 * Runs `body` unless it did its work before with the same contents of `inputs` and left `output`.
 * All paths are relative to the package. Where `body` gives false, it has not done its work.
 */
export async function once(name, { inputs, output }, body) {
  const stamp = path.join(root, 'node_modules/.nfq-cluster', name);
  const current = fingerprint(inputs);
  const done = existsSync(stamp) && readFileSync(stamp, 'utf8') === current;
  if (done && existsSync(path.join(root, output))) return;
  if ((await body()) === false) return;
  mkdirSync(path.dirname(stamp), { recursive: true });
  writeFileSync(stamp, current);
}
