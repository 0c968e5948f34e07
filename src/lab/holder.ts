/*
 * The process that owns the laboratory: namespaces, nodes and clients end with it, however it
 * ends. It is apart from the command line because an ordinary user needs a user namespace around
 * it, and because a kept laboratory outlives the command line. Argument: the plan, as JSON.
 */
import { NfqClusterError } from '../errors.js';
import { runLaboratory, type LaboratoryPlan } from './laboratory.js';
import type { FromHolder } from './protocol.js';

process.title = 'nfq-cluster-lab';
const plan = JSON.parse(process.argv[2]!) as LaboratoryPlan;
const tell = (message: FromHolder): void => void process.send?.(message);
const stop = (): never => process.exit(0);

process.on('SIGTERM', stop).on('disconnect', stop);
try {
  const { report, topology } = await runLaboratory(plan, (done, of) =>
    tell({ event: 'progress', done, of }),
  );
  if (plan.keep === true) process.off('disconnect', stop);
  const { bridge, clients, nodes } = topology;
  const standing = {
    holder: process.pid,
    bridge: bridge.pid,
    clients: clients.pid,
    nodes: nodes.map(({ pid }) => pid),
  };
  tell({ event: 'report', report, standing });
} catch (error) {
  tell({
    event: 'failed',
    message: error instanceof NfqClusterError ? error.message : String((error as Error).stack),
  });
}
