/* node test/fuzz/seeds.mjs DIRECTORY: recorded messages as a first corpus for packet_fuzz. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

const [directory = 'corpus'] = process.argv.slice(2);
mkdirSync(directory, { recursive: true });
for (const file of ['nfqueue-ct-6.1.hex', 'nfqueue-noct-6.18.hex']) {
  const lines = readFileSync(path.join(import.meta.dirname, '../vectors', file), 'utf8').split(
    '\n',
  );
  for (const [at, line] of lines.entries()) {
    const [hex] = line.split('\t');
    if (hex !== '') writeFileSync(path.join(directory, `${file}-${at}`), Buffer.from(hex, 'hex'));
  }
}
