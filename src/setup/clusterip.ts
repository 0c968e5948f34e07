import type { ResolvedOptions } from '../options.js';
import { hex } from './words.js';

/*
 * Where the rules of policy `clusterip` differ: the target took IPv4 alone, made every packet that it let in
 * one for this host, whatever its frame, and stored the node of a new connection in the connmark.
 */

export const isClusterip = ({ policy }: Pick<ResolvedOptions, 'policy'>): boolean =>
  policy === 'clusterip';

/** The rules behind the queue, by the bits that the engine left in the mark. */
export function afterClusterip({ marks }: Pick<ResolvedOptions, 'marks'>): string[] {
  const { multicast, bucket: node } = marks;
  const shift = Math.log2((node & -node) >>> 0);
  const number = `meta mark & ${hex(node)}`;
  return [
    `meta mark & ${hex(multicast)} == ${hex(multicast)} meta pkttype set host`,
    `ct state new ${number} != 0 ct mark set ${shift === 0 ? number : `(${number}) >> ${shift}`}`,
  ];
}
