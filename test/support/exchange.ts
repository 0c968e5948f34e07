/* Exchanges by real sockets, from many sources by one process (exchange.mjs). */
import path from 'node:path';
import type { Namespace } from '../../src/lab/namespaces.js';
import { root } from './processes.js';

const PROGRAM = path.join(root, 'test/support/exchange.mjs');

export const PORT = 7007;

/** What to ask of a server (`serve` of gateways.ts), from each source once. */
export interface Exchange {
  /** `lost`: datagrams to a port where nobody listens, each of which is to be refused by ICMP. */
  how: 'tcp' | 'udp' | 'lost';
  to: string;
  port?: number;
  /** Sent, and expected back. */
  bytes?: number;
  /** `ADDRESS`, or `ADDRESS,PORT` for datagrams. */
  sources: readonly string[];
}

/** Makes the exchanges, one after the other. Fails unless every source got what it expects. */
export const ask = (from: Namespace, exchanges: readonly Exchange[]): Promise<string> =>
  from.run(
    process.execPath,
    [PROGRAM],
    JSON.stringify(exchanges.map((exchange) => ({ port: PORT, bytes: 10, ...exchange }))),
  );
