import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { NfqClusterError } from '../errors.js';
import { ended, type Namespace } from './namespaces.js';
import { program, startProgram } from './programs.js';
import { INTERFACE, routeBack, SHARED } from './topology.js';

const HASH_SEED = '0xdeadbeef';

/** One member of the cluster: a real service and a real `nfq-cluster run` in a namespace. */
export interface ClusterNode {
  /** What `run` has counted from its start to its next line. */
  totals(): Promise<Totals>;
  /** Ends `run` as an operator would, and resolves with all that it counted. */
  stop(): Promise<Totals>;
}

/** Packets, as `nfq-cluster run --json` counts them. */
export interface Totals {
  received: number;
  owned: number;
  foreign: number;
}

interface NodePlan {
  /** The number by which the service answers. */
  node: number;
  /** The number that `run` is given. */
  localNode: number;
  totalNodes: number;
}

/** Resolves when the service listens and `run` decides packets. */
export async function startNode(namespace: Namespace, plan: NodePlan): Promise<ClusterNode> {
  const { node } = plan;
  const run = startRun(namespace, plan);
  const errors = text(run.stderr!);
  const lines = createInterface({ input: run.stdout! });
  const failed = async (): Promise<never> => {
    const how = `ended with ${await ended(run)}: ${(await errors).trim()}`;
    throw new NfqClusterError('ERR_SYSTEM', `nfq-cluster run of node ${node} ${how}`);
  };
  const nextLine = async (): Promise<string> => {
    const end = ended(run).then(failed);
    const [line] = (await Promise.race([once(lines, 'line'), end])) as [string];
    return line;
  };
  await nextLine(); // "ready"
  await routeBack(namespace);
  await startProgram(namespace, 'service', [node, SHARED.port, SHARED.ipv4, SHARED.ipv6]);
  return {
    totals: async () => JSON.parse(await nextLine()) as Totals,
    async stop() {
      let last = '{}';
      lines.on('line', (line) => (last = line));
      const closed = once(lines, 'close');
      run.kill('SIGTERM');
      if ((await ended(run)) !== 0) await failed();
      await closed;
      return JSON.parse(last) as Totals;
    },
  };
}

function startRun(namespace: Namespace, { localNode, totalNodes }: NodePlan): ChildProcess {
  const share = ['--cluster-total-nodes', totalNodes, '--cluster-local-node', localNode];
  const seed = ['--cluster-hash-seed', HASH_SEED];
  const shared = ['--mac', `${INTERFACE}=${SHARED.mac}`];
  for (const address of [`${SHARED.ipv4}/24`, `${SHARED.ipv6}/64`])
    shared.push('--address', `${INTERFACE}=${address}`);
  const packets = ['--interface', INTERFACE, '--queue', 0];
  const args = ['run', ...packets, ...shared, ...share, ...seed, '--json'];
  return namespace.spawn(process.execPath, [program('../cli/main'), ...args.map(String)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}
