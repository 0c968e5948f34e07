import type { Standing } from './protocol.js';
import { INTERFACE, SHARED } from './topology.js';
import { ipv4Sources } from './sources.js';

const question = (source: string): string =>
  `net.connect({ host: "${SHARED.ipv4}", port: ${SHARED.port}, localAddress: "${source}" }).end("hello\\n").pipe(process.stdout)`;

/** How to look around in a laboratory that is left standing, and how to remove it. */
export function guide({ holder, bridge, clients, nodes }: Standing, root: boolean): string {
  const enter = (pid: number): string =>
    `nsenter --target ${pid}${root ? '' : ' --user --preserve-credentials'} --net`;
  const [source] = ipv4Sources(1);
  const lines = [
    ...nodes.map((pid, index) => [`node ${index + 1}`, `${enter(pid)} bash`]),
    ['the clients', `${enter(clients)} bash`],
    ['the bridge', `${enter(bridge)} bash`],
    ['rules', `${enter(nodes[0]!)} /usr/sbin/nft list ruleset`],
    ['the queue', `${enter(nodes[0]!)} cat /proc/net/netfilter/nfnetlink_queue`],
    ['frames', `${enter(nodes[0]!)} tcpdump -Z root -e -n -i ${INTERFACE}`],
    ['who answers', `${enter(clients)} node -e '${question(source!)}'`],
    ['remove it all', `kill ${holder}`],
  ] as [string, string][];
  const width = Math.max(...lines.map(([what]) => what.length));
  return [
    'The laboratory is left standing.',
    ...lines.map(([what, how]) => `  ${what.padEnd(width)}  ${how}`),
  ].join('\n');
}
