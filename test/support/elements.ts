import type { Namespace } from '../../src/lab/namespaces.js';

/** The elements of a set of the setup q0, and the milliseconds until they end: 0 where they do not. */
export async function elements(node: Namespace, set: string): Promise<Map<number, number>> {
  const listed = await node.run('nft', ['-j', 'list', 'set', 'inet', 'nfq-cluster-q0', set]);
  const { nftables } = JSON.parse(listed) as {
    nftables: { set?: { elem?: (number | { elem: { val: number; expires: number } })[] } }[];
  };
  const all = nftables.flatMap((entry) => entry.set?.elem ?? []);
  return new Map(
    all.map((each) =>
      typeof each === 'number' ? [each, 0] : [each.elem.val, each.elem.expires * 1000],
    ),
  );
}
