/* The types that a program which uses this package compiles. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

/** The modules that a declaration file refers to, itself or by others of this package. */
function referredTo(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  const text = readFileSync(file, 'utf8');
  for (const [, from] of text.matchAll(/(?:from|import\() ?'([^']+)'/g)) {
    if (!from!.startsWith('.')) seen.add(from!);
    else referredTo(path.join(path.dirname(file), from!.replace(/\.js$/, '.d.ts')), seen);
  }
  return seen;
}

test('the public types refer to no other package', () => {
  const index = path.resolve(import.meta.dirname, '../../dist/index.d.ts');
  const all = [...referredTo(index)];
  assert.ok(all.length > 20);
  assert.deepEqual(
    all.filter((name) => !path.isAbsolute(name) && !name.startsWith('node:')),
    [],
  );
});
