import { flowKey, type Flow } from './protocol.js';
import type { Totals } from './nodes.js';

interface NodeReport extends Totals {
  node: number;
  /** Flows that this node alone owned and answered. */
  answered: number;
}

/** A flow that was not answered by exactly one node. */
interface Fault extends Flow {
  /** Nodes that let its packets in. */
  letInBy: number[];
}

export interface Report {
  nodes: NodeReport[];
  /** TCP connections and UDP exchanges that were begun: all, unless too many were not answered. */
  flows: number;
  /** Answered by one node, and let in by that one only. */
  exactlyOne: number;
  none: number;
  /** Answered, or merely let in, by more than one node. */
  several: number;
  /** The first few flows of `none` and `several`. */
  faults: Fault[];
  seconds: number;
}

const FAULTS_SHOWN = 10;

/**
 * @param letIn for each node, from node 1, the keys of the flows that reached its local input
 */
export function judge(
  flows: readonly Flow[],
  letIn: readonly ReadonlySet<string>[],
  totals: readonly Totals[],
  seconds: number,
): Report {
  const nodes = totals.map(({ received, owned, foreign }, index) => ({
    node: index + 1,
    answered: 0,
    received,
    owned,
    foreign,
  }));
  const report: Report = {
    nodes,
    flows: flows.length,
    exactlyOne: 0,
    none: 0,
    several: 0,
    faults: [],
    seconds,
  };
  for (const flow of flows) {
    const letInBy = nodes
      .map(({ node }) => node)
      .filter((node) => letIn[node - 1]!.has(flowKey(flow)));
    const owners = new Set([...flow.answers, ...letInBy]);
    const [owner] = flow.answers;
    if (owners.size > 1) report.several++;
    else if (owner === undefined || letInBy.length === 0) report.none++;
    else {
      report.exactlyOne++;
      nodes[owner - 1]!.answered++;
      continue;
    }
    if (report.faults.length < FAULTS_SHOWN) report.faults.push({ ...flow, letInBy });
  }
  return report;
}

/** What the command ends with: 0 only if every flow was answered by exactly one node. */
export const exitStatus = ({ flows, exactlyOne }: Report): number => (exactlyOne === flows ? 0 : 1);

const count = (number: number): string => number.toLocaleString('en');

/** The report as a table and a summary, for people. */
export function summary(report: Report): string {
  const rows = report.nodes.map(({ node, answered, received, owned, foreign }) =>
    [node, answered, received, owned, foreign].map(count),
  );
  const total = [
    ['Flows', report.flows],
    ['  answered by exactly one node', report.exactlyOne],
    ['  answered by none', report.none],
    ['  answered by several', report.several],
  ].map(([what, number]) => [what as string, count(number as number)]);
  const faults = report.faults.map(
    ({ protocol, source, port, answers, letInBy }) =>
      `${protocol} from ${source} port ${port}: answered by ${list(answers)}, let in by ${list(letInBy)}`,
  );
  return [
    ...aligned([['Node', 'Flows answered', 'Packets seen', 'Owned', 'Foreign'], ...rows]),
    '',
    ...aligned(total),
    ...(faults.length > 0 ? ['', 'For example:', ...faults] : []),
    '',
    `In ${report.seconds.toFixed(1)} s.`,
  ].join('\n');
}

const list = (nodes: readonly number[]): string =>
  nodes.length === 0 ? 'none' : `node ${nodes.join(', ')}`;

/** First column to the left, the others to the right. */
function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!),
      )
      .join('  '),
  );
}
