/*
 * To be imported before all that reads the PATH: nft that does as it is told. What is told is the fate of one
 * transaction after the other, and behind the last the real nft serves as ever. It gets its input by a pipe: some nft
 * refuse a socket, and the second attempt, with a pipe, would meet the next fate.
 */
import { mkdtempSync, rmSync, writeFileSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/**
 * `late`: done, but half a second passes until it says so. `slow`: half a second passes until it is done. `refuse`: fails,
 * and changes nothing. `serve`: as ever.
 */
export type Fate = 'late' | 'slow' | 'refuse' | 'serve';

const directory = mkdtempSync(path.join(tmpdir(), 'nfq-cluster-test-'));
const fates = path.join(directory, 'fates');
process.on('exit', () => rmSync(directory, { recursive: true }));

writeFileSync(
  path.join(directory, 'nft'),
  `#!/bin/sh
PATH="\${PATH#*:}"
[ "$1 $2" = '-f -' ] || exec nft "$@"
fate=$(head -n 1 '${fates}')
sed -i 1d '${fates}'
[ "$fate" = refuse ] && { echo 'told to refuse' >&2; exit 1; }
[ "$fate" != slow ] || sleep 0.5
cat | nft "$@" || exit
[ "$fate" != late ] || sleep 0.5
`,
  { mode: 0o755 },
);
process.env['PATH'] = `${directory}:${process.env['PATH']}`;

/** Tells the fates of the next transactions. */
export function fail(...next: Fate[]): void {
  writeFileSync(fates, next.map((fate) => `${fate}\n`).join(''));
}

/** Those that are still to come. */
export const left = (): string => readFileSync(fates, 'utf8');

fail();
