import { setTimeout as delay } from 'node:timers/promises';
import { procNet } from './traces.js';

const PATIENCE_MS = 2000;
const LOOK_EVERY_MS = 5;

/**
 * Waits, but not for ever, for a moment in which no queue of the namespace holds a packet: the kernel
 * drops them all when a base chain is deleted. Gives whether it came.
 */
export async function untilNothingIsHeld(netns: string | undefined): Promise<boolean> {
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await delay(LOOK_EVERY_MS)) {
    if (heldPackets((await procNet('netfilter/nfnetlink_queue', netns)) ?? '') === 0) return true;
  }
  return false;
}

/** The packets that all queues hold, from the kernel's table of queues. */
export function heldPackets(table: string): number {
  return table
    .split('\n')
    .map((queue) => Number(queue.trim().split(/\s+/)[2] ?? 0))
    .reduce((total, held) => total + held, 0);
}
