/* The file of a control socket: a process that is killed leaves it behind. */
import { link, mkdir, readdir, stat, unlink } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { NfqClusterError } from '../errors.js';

/** Attempts to replace a dead socket by ours, while others may try the same. */
const MOST_TRIES = 500;
const RETRY_MS = 10;
/** A younger socket may be about to listen. */
const SWEPT_FROM_MS = 60_000;

/* Not recursive: Node's recursive mkdir never ends where the system says ENOENT, as in /proc. */
export async function makeDirectory(directory: string): Promise<void> {
  await mkdir(directory, { mode: 0o700 }).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  });
}

/** Gives a listening socket its name, which it may take from a dead socket, but never from a living one. */
export async function claim(hidden: string, file: string): Promise<void> {
  for (let tries = 0; tries < MOST_TRIES; tries += 1) {
    try {
      return await link(hidden, file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const found = await identity(file);
    if (found === undefined) continue;
    if (await isAlive(file)) break;
    await removeDead(file, found);
  }
  throw taken(file);
}

/*
 * Of several starters only one may remove a dead socket, or it might remove what another has put there since.
 * Their lock is an abstract socket named after the dead one: the kernel frees it, however its holder ends.
 */
async function removeDead(file: string, dead: string): Promise<void> {
  const lock = net.createServer();
  const locked = await new Promise<boolean>((resolve) => {
    lock.once('error', () => resolve(false)).listen(`\0nfq-cluster ${dead}`, () => resolve(true));
  });
  if (!locked) return delay(RETRY_MS);
  try {
    if ((await identity(file)) === dead) await unlink(file);
  } finally {
    lock.close();
  }
}

/** Different for any two files that ever existed; undefined if there is no file. */
const identity = (file: string): Promise<string | undefined> =>
  stat(file, { bigint: true }).then(
    ({ dev, ino, ctimeNs }) => `${dev} ${ino} ${ctimeNs}`,
    () => undefined,
  );

/** Whether somebody listens. What is no socket counts as alive: it is not ours to remove. */
function isAlive(file: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(file);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') {
        void stat(file).then(
          (found) => resolve(!found.isSocket()),
          () => resolve(false),
        );
      } else if (error.code === 'ENOENT') resolve(false);
      else if (error.code === 'EAGAIN') resolve(true);
      else reject(error);
    });
  });
}

/** Removes the sockets that killed processes have left in a directory, as far as this process may. */
export async function sweep(directory: string): Promise<void> {
  for (const name of await readdir(directory).catch(() => [])) {
    const file = path.join(directory, name);
    await sweepDead(file).catch(() => undefined);
  }
}

async function sweepDead(file: string): Promise<void> {
  const dead = await identity(file);
  const { mtimeMs } = await stat(file);
  if (dead === undefined || Date.now() - mtimeMs < SWEPT_FROM_MS || (await isAlive(file))) return;
  await removeDead(file, dead);
}

const taken = (file: string): NfqClusterError =>
  new NfqClusterError('ERR_CONTROL_TAKEN', `The control socket ${file} is taken`, {
    expected: 'a path that is free, or the socket of an engine that has ended',
    found: 'the socket of another engine, or a file that is no socket',
    remedy: 'Give each engine a name or a control socket of its own',
  });
