/* The files of control sockets. */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { ControlServer } from '../../src/control/server.js';
import { sweep } from '../../src/control/socket-file.js';
import { leaveStale } from '../support/stale-socket.js';

test('what killed processes left is removed, unless it may only be about to listen', async (t) => {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'nfq-cluster-'));
  t.after(() => rm(folder, { recursive: true }));
  const file = (name: string): string => path.join(folder, name);
  for (const name of ['dead@1.sock', '.0a1b2c3d', 'young@1.sock']) await leaveStale(file(name));
  const server = await ControlServer.listen(file('living@1.sock'), () => Promise.resolve({}));
  t.after(() => server.close());
  await writeFile(file('precious'), '');
  for (const name of ['dead@1.sock', '.0a1b2c3d', 'living@1.sock', 'precious'])
    await utimes(file(name), 0, 0);
  await sweep(folder);
  const left = await readdir(folder);
  assert.deepEqual(left.sort(), ['living@1.sock', 'precious', 'young@1.sock']);
});
