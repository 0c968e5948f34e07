import { setTimeout as delay } from 'node:timers/promises';
import { run } from './exec.js';
import { procNet } from './traces.js';

const PATIENCE_MS = 2000;
const LOOK_EVERY_MS = 5;

/** The kernel's table of queues, which only root can read. */
const TABLE = 'netfilter/nfnetlink_queue';

/**
 * Waits, but not for ever, for a moment in which no queue of the namespace holds a packet: the kernel
 * drops them all when a base chain is deleted.
 * @returns whether it came
 */
export async function untilNothingIsHeld(netns: string | undefined): Promise<boolean> {
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await delay(LOOK_EVERY_MS)) {
    if (heldPackets((await procNet(TABLE, netns)) ?? '') === 0) return true;
  }
  return false;
}

/** The queues that somebody listens on; undefined where that may not be read. */
export async function listenedQueues(netns: string | undefined): Promise<number[] | undefined> {
  const { status, stdout, stderr } = await run('cat', [`/proc/net/${TABLE}`], { netns });
  if (status !== 0) return stderr.includes('No such file') ? [] : undefined;
  return [...stdout.matchAll(/^ *(\d+) /gm)].map(([, queue]) => Number(queue));
}

/** The packets that all queues hold, from the kernel's table of queues. */
export function heldPackets(table: string): number {
  return table
    .split('\n')
    .map((queue) => Number(queue.trim().split(/\s+/)[2] ?? 0))
    .reduce((total, held) => total + held, 0);
}
