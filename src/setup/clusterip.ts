import { lowestBit } from '../options/marks.js';
import type { ResolvedOptions } from '../options/types.js';
import { hex } from './words.js';

/*
 * What is different in the rules of policy `clusterip`: the target took only IPv4, gave every packet that it
 * let in the pkt_type HOST, whatever its frame, and stored a new connection's node in the connmark.
 */

export const isClusterip = ({ policy }: Pick<ResolvedOptions, 'policy'>): boolean =>
  policy === 'clusterip';

/** The rules behind the queue, which read the bits that the engine left in the mark. */
export function afterClusterip({ marks }: Pick<ResolvedOptions, 'marks'>): string[] {
  const { multicast, bucket: node } = marks;
  const shift = Math.log2(lowestBit(node));
  const number = `meta mark & ${hex(node)}`;
  return [
    `meta mark & ${hex(multicast)} == ${hex(multicast)} meta pkttype set host`,
    `ct state new ${number} != 0 ct mark set ${shift === 0 ? number : `(${number}) >> ${shift}`}`,
  ];
}
