import { readdir, readFile, readlink } from 'node:fs/promises';
import { NfqClusterError } from '../errors.js';
import { parseQueues, QUEUE_TABLE } from '../setup/held.js';
import { procNet } from '../setup/kernel-files.js';
import { error, given, ok, skipped, warning, type Judged } from './finding.js';
import type { DoctorFacts, Subject } from './facts.js';

/** Who listens on a queue. */
export interface Listener {
  queue: number;
  /** The kernel's count of packets dropped as the queue, or the socket's buffer, was full. */
  lost: number;
  process: Process | undefined;
}

interface Process {
  id: number;
  name: string;
  hasEngine: boolean | undefined;
  /** By a signal such as SIGSTOP, or by a debugger. */
  stopped?: boolean;
}

const NETFILTER = '12';
const ADDON = /nfq[-_]cluster.*\.node$/m;
/** In /proc/PID/stat, behind the name, which may hold anything. */
const STOPPED = /^\d+ \(.*\) [Tt] /s;

/**
 * Reads who listens on the queues of a namespace.
 * @throws NfqClusterError `ERR_PRIVILEGE`, and what `run` throws
 */
export async function readListeners(netns: string | undefined): Promise<Listener[]> {
  const table = await procNet(QUEUE_TABLE, netns);
  if (table === undefined) {
    throw new NfqClusterError(
      'ERR_PRIVILEGE',
      `/proc/net/${QUEUE_TABLE} cannot be read: only root may`,
    );
  }
  const queues = parseQueues(table);
  const inodes = parseSockets((await procNet('netlink', netns)) ?? '');
  const wanted = new Set(queues.flatMap(({ port }) => inodes.get(port) ?? []));
  const owners = wanted.size === 0 ? new Map<string, number>() : await socketOwners(wanted);
  const known = queues.map(async ({ queue, port, lost }) => {
    const owner = owners.get(inodes.get(port) ?? '');
    return { queue, lost, process: owner === undefined ? undefined : await describe(owner) };
  });
  return Promise.all(known);
}

/** Netfilter's netlink sockets: port id → inode, from /proc/net/netlink. */
export const parseSockets = (table: string): Map<string, string> =>
  new Map(
    table
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter(([, protocol]) => protocol === NETFILTER)
      .map((fields) => [fields[2]!, fields.at(-1)!]),
  );

/** The processes that have sockets open, by the sockets' inodes; those that may be looked at. */
async function socketOwners(inodes: ReadonlySet<string>): Promise<Map<string, number>> {
  const owners = new Map<string, number>();
  const processes = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  for (const id of processes) {
    const folder = `/proc/${id}/fd`;
    for (const descriptor of await readdir(folder).catch(() => [])) {
      const target = await readlink(`${folder}/${descriptor}`).catch(() => '');
      const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
      if (inode !== undefined && inodes.has(inode)) owners.set(inode, Number(id));
    }
  }
  return owners;
}

async function describe(id: number): Promise<Listener['process']> {
  const read = (file: string): Promise<string | undefined> =>
    readFile(`/proc/${id}/${file}`, 'utf8').catch(() => undefined);
  const maps = await read('maps');
  return {
    id,
    name: (await read('comm'))?.trim() ?? '?',
    // An engine has our addon in its memory, whatever program it is part of.
    hasEngine: maps === undefined ? undefined : ADDON.test(maps),
    stopped: STOPPED.test((await read('stat')) ?? ''),
  };
}

const CHECK = 'queue listener';

/** Whether an engine, and nobody else, listens on the queues. */
export const checkListeners = ({ subjects, listeners }: DoctorFacts): Judged[] =>
  given(CHECK, [subjects, listeners], (all, known) =>
    all.flatMap((subject) =>
      subject.queues.flatMap((queue) =>
        judge(
          subject,
          queue,
          known.find((listener) => listener.queue === queue),
        ),
      ),
    ),
  );

function judge(subject: Subject, queue: number, listener: Listener | undefined): Judged[] {
  if (listener === undefined) return [nobody(subject, queue)];
  const { process, lost } = listener;
  return [
    somebody(queue, process),
    ...(lost === 0
      ? []
      : [
          warning(
            'lost packets',
            `Queue ${queue} has lost ${lost} packets: it, or its receive buffer, was full`,
            {
              remedy: 'Raise --queue-length and --receive-buffer, or add queues',
            },
          ),
        ]),
  ];
}

function nobody({ rules }: Subject, queue: number): Judged {
  if (!rules) return skipped(CHECK, `Nobody listens on queue ${queue}, and no rule sends to it`);
  return error(CHECK, `Nobody listens on queue ${queue}: packets sent to it are dropped`, {
    remedy: 'Start "nfq-cluster run" with the options of the setup, or your own program',
  });
}

function somebody(queue: number, process: Listener['process']): Judged {
  const remedy = 'Stop it, or choose another queue by --queue';
  if (process?.hasEngine === undefined) {
    return skipped(CHECK, `Somebody listens on queue ${queue}, but this process may not see who`, {
      remedy: 'Look as root, in the PID namespace of the listener',
    });
  }
  const who = `process ${process.id} (${process.name})`;
  if (process.hasEngine && process.stopped === true) {
    return error(
      CHECK,
      `The engine that listens on queue ${queue} is stopped: packets wait, or are dropped: ${who}`,
      { remedy: 'Let it go on', command: `kill -CONT ${process.id}` },
    );
  }
  return process.hasEngine
    ? ok(CHECK, `An engine listens on queue ${queue}: ${who}`)
    : error(CHECK, `Another program has queue ${queue}: ${who}`, {
        remedy,
        command: `kill ${process.id}`,
      });
}
