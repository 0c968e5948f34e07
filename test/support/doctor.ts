/* A node that is set up and decides, for doctor to look at. */
import { once } from 'node:events';
import type { ChildProcess } from 'node:child_process';
import assert from 'node:assert/strict';
import type { Diagnosis, Finding } from '../../src/index.js';
import { cli, share, type Cli } from './processes.js';
import { CLUSTER, wire, type Wire } from './wire.js';

export const SETUP = [
  ...['-i', 'eth0', '--address', `eth0=${CLUSTER.ipv4}/24`, '--mac', `eth0=${CLUSTER.mac}`],
  ...share(1, 2),
];

export interface DoctorLab extends Wire {
  /** Starts the engine. */
  start(): Promise<Cli>;
  /** Starts another program that listens on queue 0. */
  listen(): Promise<ChildProcess>;
}

/** Listens on queue 0 by a plain netlink socket. */
const LISTENER = `
import os, socket, struct, time
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
s.bind((0, 0))
command = struct.pack('=HHBBH', 8, 1, 1, 0, socket.htons(2))
s.send(struct.pack('=IHHIIBBH', 20 + len(command), 3 << 8 | 2, 5, 1, 0, 0, 0, 0) + command)
error = struct.unpack_from('=i', s.recv(4096), 16)[0]
os.write(1, b'%d' % error)
time.sleep(3600)
`;

/** A node with SETUP applied and, unless told not to be, decided by an engine. */
export async function doctorLab({ running = true } = {}): Promise<DoctorLab> {
  const at = await wire();
  const lab: DoctorLab = {
    ...at,
    async start() {
      const engine = cli(['run', ...SETUP, '--control', 'none', '--json'], { namespace: at.node });
      await engine.event('ready');
      return engine;
    },
    async listen() {
      const child = at.node.spawn('python3', ['-c', LISTENER], { stdio: 'pipe' });
      const [answer] = (await once(child.stdout!, 'data')) as [Buffer];
      assert.equal(answer.toString(), '0');
      return child;
    },
  };
  const { status, stderr } = await cli(['apply', ...SETUP], { namespace: at.node }).outcome;
  assert.equal(status, 0, stderr);
  if (running) await lab.start();
  return lab;
}

/** What `nfq-cluster doctor --json` says in the node, and its exit status. */
export async function diagnosis(
  { node }: Pick<Wire, 'node'>,
  args: readonly string[] = SETUP,
  wrapper: readonly string[] = [],
): Promise<{ status: number | string; findings: readonly Finding[]; errors: Finding[] }> {
  const line = ['doctor', ...args, '--json'];
  const { status, stdout, stderr } = await cli(line, { namespace: node, wrapper }).outcome;
  assert.equal(stderr, '');
  const { findings } = JSON.parse(stdout) as Diagnosis;
  return { status, findings, errors: findings.filter(({ level }) => level === 'error') };
}
