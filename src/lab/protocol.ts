/*
 * What the laboratory's processes tell each other, over Node's channel between parent and child.
 * The service's own protocol is one line each way, over TCP and UDP alike: to "WORDS" node 2
 * answers "2 WORDS".
 */
import type { Report } from './report.js';

/** One exchange from one source address and port, with who answered it. */
export interface Flow {
  protocol: 'tcp' | 'udp';
  source: string;
  port: number;
  /** Node numbers, one for each right answer. */
  answers: number[];
}

/** Identifies a flow in every process's account of it. */
export const flowKey = ({ protocol, source, port }: Omit<Flow, 'answers'>): string =>
  `${protocol} ${source} ${port}`;

/** What the clients are sent to do. */
export interface ClientPlan {
  servers: { ipv4: string; ipv6: string; port: number };
  flows: Flow[];
}

/** From the clients. After `finished` they take further answers, until a message asks for the report. */
export type FromClients =
  { event: 'progress'; done: number } | { event: 'finished' } | { event: 'report'; flows: Flow[] };

/** From the process that holds the laboratory. */
export type FromHolder =
  | { event: 'progress'; done: number; of: number }
  | { event: 'report'; report: Report; standing: Standing }
  | { event: 'failed'; message: string };

/** Process ids that lead into a laboratory that is left standing; `nodes[0]` is node 1. */
export interface Standing {
  holder: number;
  bridge: number;
  clients: number;
  nodes: number[];
}
