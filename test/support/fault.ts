/*
 * Takes the netlink socket of a queue from a process, as a program does that closes a descriptor once too
 * often: the queue thread can no longer answer. Loaded by --import, it does so for queue 0 at SIGUSR2.
 */
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';

const NETLINK_NETFILTER = '12';
const table = (task: string, file: string): string[][] =>
  readFileSync(`/proc/self/task/${task}/net/${file}`, 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/));

/** Puts /dev/null in the socket's place, so that no other file gets its number. */
export function takeSocket(queue: number): void {
  const descriptor = descriptorOf(inodeOf(queue));
  closeSync(descriptor);
  const spare: number[] = [];
  for (let got = -1; got !== descriptor; spare.push(got)) got = openSync('/dev/null', 'r');
  spare.filter((got) => got !== descriptor).forEach((got) => closeSync(got));
}

/** By the port that listens on the queue, in the network namespace of the queue's thread. */
function inodeOf(queue: number): string {
  const tasks = readdirSync('/proc/self/task');
  const thread = tasks.find(
    (task) => readFileSync(`/proc/self/task/${task}/comm`, 'utf8') === `nfq-${queue}\n`,
  )!;
  const [, port] = table(thread, 'netfilter/nfnetlink_queue').find(
    ([number]) => number === String(queue),
  )!;
  return table(thread, 'netlink').find(
    ([, protocol, owner]) => protocol === NETLINK_NETFILTER && owner === port,
  )![9]!;
}

function descriptorOf(inode: string): number {
  for (const name of readdirSync('/proc/self/fd')) {
    try {
      if (readlinkSync(`/proc/self/fd/${name}`) === `socket:[${inode}]`) return Number(name);
    } catch {
      // The directory itself, which is closed again.
    }
  }
  throw new Error(`no descriptor of socket ${inode}`);
}

process.on('SIGUSR2', () => takeSocket(0));
