/* Rules of CLUSTERIP that are refused, for the import everywhere, and for a kernel that still has the target. */

export const ruleOf = (values: string, more = '-d 10.31.3.236/32 -i lo'): string =>
  `-A INPUT ${more} -j CLUSTERIP ${values}`;

export const valuesOf = (mode: string, total: number | string, local: number | string): string =>
  `--new --hashmode ${mode} --clustermac 01:AA:7B:47:F7:D7 --total-nodes ${total} --local-node ${local} --hash-init 1`;

const GOOD = valuesOf('sourceip', 2, 1);

interface RefusedRules {
  /** Taken by the kernel all but the last. */
  rules: string[];
  program?: 'ip6tables';
  reason: RegExp;
  /** What iptables and the kernel take, and has no equal here. */
  taken?: true;
}

export const REFUSED: RefusedRules[] = [
  { rules: [ruleOf(valuesOf('sourceip', 2, 0))], reason: /local node 0/ },
  { rules: [ruleOf(valuesOf('destip', 2, 1))], reason: /Unknown hashmode/ },
  { rules: [ruleOf(valuesOf('sourceip', 17, 1))], reason: /out of range/ },
  { rules: [ruleOf(valuesOf('sourceip', 2, 17))], reason: /out of range/ },
  { rules: [ruleOf(GOOD.replace('01:AA', '02:AA'))], reason: /multicast/ },
  { rules: [ruleOf(GOOD.replace('01:AA', 'AA'))], reason: /invalid MAC/ },
  { rules: [ruleOf(GOOD.replace('--new ', ''))], reason: /combination/ },
  { rules: [ruleOf('--new')], reason: /combination/ },
  { rules: [ruleOf('')], reason: /need 'new'/ },
  { rules: [ruleOf(GOOD, '-i lo')], reason: /one address/ },
  { rules: [ruleOf(GOOD, '-d 10.31.3.0/24 -i lo')], reason: /one address/ },
  { rules: [ruleOf(GOOD, '-d 10.31.3.236')], reason: /interface/ },
  { rules: [ruleOf(GOOD, '-d 10.31.3.236 -i l+')], reason: /interface/ },
  { rules: [ruleOf(`${GOOD} --hash-init 2`)], reason: /only be used once/ },
  { rules: [ruleOf(GOOD)], program: 'ip6tables', reason: /IPv4 alone/ },
  { rules: [ruleOf(GOOD), ruleOf(GOOD.replace('01:AA', '03:AA'))], reason: /already with the MAC/ },
  {
    rules: [ruleOf(GOOD), ruleOf('', '-p udp -d 10.31.3.236 -i lo')],
    reason: /already with the MAC/,
  },
  { rules: [ruleOf(GOOD, '! -d 10.31.3.236 -i lo')], reason: /one address/, taken: true },
  { rules: [ruleOf(GOOD, '-d 224.1.1.1 -i lo')], reason: /no unicast address/, taken: true },
  {
    rules: [ruleOf(GOOD.replace(/01:AA\S+/, 'ff:ff:ff:ff:ff:ff'))],
    reason: /broadcast MAC/,
    taken: true,
  },
  {
    rules: [
      ruleOf(GOOD),
      ruleOf(GOOD, '-d 10.31.3.237 -i lo').replace('local-node 1', 'local-node 2'),
    ],
    reason: /share alike/,
    taken: true,
  },
];
