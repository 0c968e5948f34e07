/* Decisions of a real kernel's `cluster` match, recorded. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Hasher } from '../../src/hash.js';

interface Row {
  total: number;
  seed: number;
  source: string;
  node: number;
}

function recorded(): Row[] {
  const file = path.join(import.meta.dirname, '../vectors/xt_cluster-6.1.csv');
  const [header, ...lines] = readFileSync(file, 'utf8').trim().split('\n');
  assert.equal(header, 'family,total,seed,src,node');
  return lines.map((line) => {
    const [, total, seed, source, node] = line.split(',') as [
      string,
      string,
      string,
      string,
      string,
    ];
    return { total: Number(total), seed: Number(seed), source, node: Number(node) };
  });
}

test('every node that a 6.1 kernel chose', () => {
  const rows = recorded();
  assert.equal(rows.length, 2560);
  const differing = rows.filter(({ total, seed, source, node }) => {
    const hasher = new Hasher({ policy: 'xt_cluster', totalNodes: total, hashSeed: seed });
    return hasher.node(source) !== node;
  });
  assert.deepEqual(differing, []);
});
