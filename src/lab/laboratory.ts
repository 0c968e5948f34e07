import { collectEvidence, flowsLetIn } from './evidence.js';
import { startNode, type ClusterNode } from './nodes.js';
import { judge, type Report } from './report.js';
import { ipv4Sources, ipv6Sources } from './sources.js';
import { buildTopology, closeTopology, type Topology } from './topology.js';
import { makeFlows, type Progress } from './traffic.js';

export interface LaboratoryPlan {
  /** How many nodes, from 1. */
  nodes: number;
  /** Source addresses per family; from each, one TCP connection and one UDP exchange. */
  sources: number;
  /** The node number that each member's `run` is given, in order; the right ones by default. */
  localNodes?: readonly number[];
  /** Leave nodes and namespaces standing until this process ends. */
  keep?: boolean;
}

/** Builds a cluster, lets clients at it, and judges who answered. */
export async function runLaboratory(
  plan: LaboratoryPlan,
  progress: Progress,
): Promise<{ report: Report; topology: Topology }> {
  const { keep = false } = plan;
  const sources = [...ipv4Sources(plan.sources), ...ipv6Sources(plan.sources)];
  const start = performance.now();
  const topology = await buildTopology(plan.nodes);
  try {
    const nodes = await startNodes(topology, plan);
    const flows = await makeFlows(topology, sources, progress);
    const letIn = await Promise.all(topology.nodes.map(flowsLetIn));
    const totals = await Promise.all(nodes.map((node) => (keep ? node.totals() : node.stop())));
    return {
      report: judge(flows, letIn, totals, Math.round(performance.now() - start) / 1000),
      topology,
    };
  } finally {
    if (!keep) await closeTopology(topology);
  }
}

function startNodes({ nodes }: Topology, { localNodes }: LaboratoryPlan): Promise<ClusterNode[]> {
  return Promise.all(
    nodes.map(async (namespace, index) => {
      const node = index + 1;
      await collectEvidence(namespace);
      return startNode(namespace, {
        node,
        localNode: localNodes?.[index] ?? node,
        totalNodes: nodes.length,
      });
    }),
  );
}
