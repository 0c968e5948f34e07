import { constants } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { procNet, readProcNet } from './kernel-files.js';

const PATIENCE_MS = 2000;
const LOOK_EVERY_MS = 5;

/** The kernel's table of queues, which only root can read. */
export const QUEUE_TABLE = 'netfilter/nfnetlink_queue';

/**
 * Waits, but not for ever, for a moment in which no queue of the namespace holds a packet: the kernel
 * drops them all when a base chain is deleted.
 * @returns whether it came
 */
export async function untilNothingIsHeld(netns: string | undefined): Promise<boolean> {
  const end = performance.now() + PATIENCE_MS;
  for (; performance.now() < end; await delay(LOOK_EVERY_MS)) {
    if (heldPackets((await procNet(QUEUE_TABLE, netns)) ?? '') === 0) return true;
  }
  return false;
}

/** The queues that somebody listens on; undefined where that may not be read. */
export async function listenedQueues(netns: string | undefined): Promise<number[] | undefined> {
  const table = await readProcNet(QUEUE_TABLE, netns);
  if (typeof table === 'number') return table === constants.errno.ENOENT ? [] : undefined;
  return parseQueues(table).map(({ queue }) => queue);
}

/** The packets that all queues hold, from the kernel's table of queues. */
export const heldPackets = (table: string): number =>
  parseQueues(table).reduce((total, { held }) => total + held, 0);

/** The lines of that table: the port is the listening socket's, and what is lost found it or its buffer full. */
export const parseQueues = (
  table: string,
): { queue: number; port: string; held: number; lost: number }[] =>
  table
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(({ length }) => length >= 7)
    .map(([queue, port, held, , , full, undelivered]) => ({
      queue: Number(queue),
      port: port!,
      held: Number(held),
      lost: Number(full) + Number(undelivered),
    }));
