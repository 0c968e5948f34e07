import type { Namespace } from '../../src/lab/namespaces.js';
import { waitFor } from './processes.js';

/** The rules of a namespace, of every kind, as text. Without counters and dates. */
export async function rulesOf(namespace: Namespace): Promise<string> {
  const script = `
    nft list ruleset 2>/dev/null
    for save in iptables-legacy-save ip6tables-legacy-save; do
      if command -v $save >/dev/null; then $save; fi
    done`;
  const text = await namespace.run('sh', ['-c', script]);
  return text
    .replace(/packets \d+ bytes \d+/g, '')
    .replace(/\[\d+:\d+\]/g, '')
    .replace(/^#.*\n/gm, '')
    .replace(EMPTY_LEGACY, '');
}

/**
 * All of a namespace that a setup may change, as text: its rules, addresses with their flags, MACs, joined
 * groups, routes and kernel parameters. Without timers, what the kernel numbers anew, and the state of the wire, which
 * it learns a moment later. An IPv6 address comes a moment before its group, and that before its route, which is waited
 * for: so groups are read last. Conntrack's parameters come with its module, so that is loaded first.
 */
export async function stateOf(namespace: Namespace): Promise<string> {
  const script = `
    modprobe -q nf_conntrack
    ip address show; ip route show table all; ip -6 route show table all; ip maddress show
    grep -sr '' /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf /proc/sys/net/ipv4/neigh
    grep -s '' /proc/sys/net/netfilter/nf_conntrack_[!c]*
    true`;
  let text = '';
  await waitFor('every IPv6 address has its route', async () => {
    text = await namespace.run('sh', ['-c', script]);
    const addresses = [...text.matchAll(/^ +inet6 (\S+)\/\d+ scope/gm)];
    return addresses.every(([, address]) => text.includes(`local ${address!} dev `));
  });
  const lasting = text
    .replace(/ expires \S+|NO-CARRIER,|,LOWER_UP| state \S+| linkdown/g, '')
    .replace(/^.*(stable_secret|nf_conntrack_(max|buckets|expect_max)).*\n/gm, '');
  return (await rulesOf(namespace)) + lasting;
}

/** What iptables-legacy has touched once stays registered, and empty, until the namespace ends. */
const EMPTY_LEGACY = /^\*mangle\n(:[A-Z]+ ACCEPT \n){5}COMMIT\n/gm;

/** The packets of a named counter of a table of family inet. */
export async function counter(namespace: Namespace, table: string, name: string): Promise<number> {
  const listed = await namespace.run('nft', ['list', 'counter', 'inet', table, name]);
  return Number(/packets (\d+)/.exec(listed)![1]);
}
