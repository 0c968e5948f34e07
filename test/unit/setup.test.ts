import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Options } from '../../src/options/types.js';
import { resolveOptions } from '../../src/options/resolve.js';
import type { Facts } from '../../src/setup/facts.js';
import { closing, installation as planInstallation } from '../../src/setup/plan.js';
import { mangleMade, nftRevert, xtablesRevert } from '../../src/setup/removal.js';
import { nftTable, xtablesChain, xtablesRemoval, type Mechanism } from '../../src/setup/ruleset.js';
import type { Step } from '../../src/setup/step.js';
import type { Traces, XtablesTraces } from '../../src/setup/traces.js';

const options = (more: Partial<Options> = {}) =>
  resolveOptions({ interfaces: ['eth1'], hashSeed: 1, totalNodes: 2, localNode: 1, ...more });

/** The rules of one chain in a transaction. */
const rulesOf = (text: string, chain: string): string[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('add rule ') && line.split(' ')[4] === chain)
    .map((line) => line.split(' ').slice(5).join(' '));

const NFT: Mechanism = { kind: 'nft' };
const XTABLES: Mechanism = {
  kind: 'xtables',
  iptables: 'iptables-nft',
  ip6tables: 'ip6tables-nft',
};

const nothing = (program: string, family: 'ip' | 'ip6'): XtablesTraces => ({
  program,
  family,
  legacy: program.endsWith('legacy'),
  chain: false,
  jumps: 0,
});

const CLEAN: Traces = {
  nftChains: undefined,
  emptied: [],
  arp: false,
  setups: {},
  mangle: [],
  made: [],
  xtables: [
    nothing('iptables-nft', 'ip'),
    nothing('ip6tables-nft', 'ip6'),
    nothing('iptables-legacy', 'ip'),
  ],
};

const facts = (traces: Traces): Facts => ({
  traces,
  journal: [],
  others: [],
  interfaces: {},
  sysctls: {},
});

/** The steps of a setup of an engine's own. */
const installation = (
  resolved: ReturnType<typeof options>,
  mechanism: Mechanism,
  traces: Traces,
): Step[] => planInstallation(resolved, mechanism, facts(traces), 'run').steps;

describe('the nft table', () => {
  it('names nothing `options`, which nft 1.0.2 takes for a word of its own', () => {
    const [{ input } = { input: '' }] = installation(options(), NFT, CLEAN);
    const named = [...input!.matchAll(/^add \S+ inet \S+ (\S+)/gm)].map(([, name]) => name);
    assert.ok(named.length > 5 && !named.includes('options'));
  });

  it('queues under action drop', () => {
    assert.equal(
      nftTable(options({ queues: [2, 0, 1], interfaces: ['eth1', 'br0.5'] }), 'nft', 'queue'),
      `add table inet nfq-cluster-q0
add chain inet nfq-cluster-q0 for-host
flush chain inet nfq-cluster-q0 for-host
add rule inet nfq-cluster-q0 for-host iifname != { "eth1", "br0.5" } return
add rule inet nfq-cluster-q0 for-host ip daddr != 224.0.0.0/4 meta pkttype set host
add rule inet nfq-cluster-q0 for-host ip6 daddr != ff00::/8 meta pkttype set host
add rule inet nfq-cluster-q0 for-host meta pkttype host meta mark set meta mark | 0x40000000
add chain inet nfq-cluster-q0 before-queue { type filter hook prerouting priority -152; policy accept; }
flush chain inet nfq-cluster-q0 before-queue
add rule inet nfq-cluster-q0 before-queue iifname != { "eth1", "br0.5" } return
add rule inet nfq-cluster-q0 before-queue meta pkttype multicast jump for-host
add rule inet nfq-cluster-q0 before-queue icmpv6 type { 130-137, 143 } ip6 hoplimit { 1, 255 } meta mark set meta mark & 0x3fffffff return
add rule inet nfq-cluster-q0 before-queue ip protocol igmp ip daddr 224.0.0.0/4 meta mark set meta mark & 0x3fffffff return
add rule inet nfq-cluster-q0 before-queue ct state invalid,untracked drop
add rule inet nfq-cluster-q0 before-queue meta mark set meta mark & 0x7fffffff
add rule inet nfq-cluster-q0 before-queue queue num 0-2
`,
    );
  });

  it("drops the cluster's multicast frames by other interfaces, but under action mark", () => {
    const cluster = { addresses: ['192.0.2.10/24', '2001:db8::10/64'], mac: '03:00:00:00:00:01' };
    const interfaces = [{ name: 'eth0', ...cluster }];
    const text = nftTable(options({ interfaces }), 'nft', 'queue');
    assert.equal(rulesOf(text, 'before-queue')[0], 'iifname != "eth0" goto by-others');
    assert.deepEqual(rulesOf(text, 'by-others'), [
      'ip daddr { 192.0.2.10 } ether daddr 03:00:00:00:00:01 drop',
      'ip6 daddr { 2001:db8::10 } ether daddr 03:00:00:00:00:01 drop',
    ]);
    const inVrf = {
      ...facts(CLEAN),
      interfaces: { eth0: { index: 3, mac: '', vrf: 'red', addresses: [], macs: [] } },
    };
    const [installed] = planInstallation(options({ interfaces }), NFT, inVrf, 'run').steps;
    assert.equal(rulesOf(installed!.input!, 'by-others')[0], 'iifname { "red" } return');
    const [closed] = closing(options({ interfaces }), NFT, {
      ...inVrf,
      traces: { ...CLEAN, nftChains: ['by-others'] },
    });
    assert.equal(rulesOf(closed!.input!, 'by-others')[0], 'iifname { "red" } return');
    const marking = nftTable(options({ interfaces, action: 'mark' }), 'nft', 'queue');
    assert.equal(rulesOf(marking, 'before-queue')[0], 'iifname != "eth0" return');
  });

  it('marks neighbour discovery as owned under action mark, and lets INVALID pass unmarked', () => {
    const text = nftTable(
      options({ action: 'mark', name: 'gw', marks: { owned: { value: 0x1, mask: 0x3 } } }),
      'nft',
      'queue',
    );
    assert.deepEqual(rulesOf(text, 'before-queue').slice(1), [
      'meta pkttype multicast jump for-host',
      'icmpv6 type { 130-137, 143 } ip6 hoplimit { 1, 255 } meta mark set meta mark & 0x3ffffffc | 0x1 return',
      'ip protocol igmp ip daddr 224.0.0.0/4 meta mark set meta mark & 0x3ffffffc | 0x1 return',
      'ct state invalid,untracked meta mark set meta mark & 0x3ffffffc return',
      'meta mark set meta mark & 0x7ffffffc',
      'queue num 0',
    ]);
  });

  it('queues by processors where that is asked for', () => {
    const fanout = options({ queues: [3, 4, 5], queueCpuFanout: true, rules: 'nft' });
    assert.equal(
      rulesOf(nftTable(fanout, 'nft', 'queue'), 'before-queue').at(-1),
      'queue num 3-5 fanout',
    );
    assert.match(
      xtablesChain(fanout, 'queue', true),
      /^-A nfq-cluster-q3 .* -j NFQUEUE --queue-balance 3:5 --queue-cpu-fanout$/m,
    );
    const [, rule] = installation(fanout, { kind: 'nft-compat' }, CLEAN);
    assert.deepEqual(rule!.args.slice(1), [
      ...['queue-rule', '--name', 'q3', '--queue', '3-5', '--queue-cpu-fanout'],
    ]);
  });

  it('asks for no connection on a stateless gateway', () => {
    const interfaces = ['eth1', { name: 'eth2', key: 'destination' as const }];
    for (const action of ['drop', 'mark'] as const) {
      for (const kind of ['nft', 'xtables'] as const) {
        assert.doesNotMatch(nftTable(options({ interfaces, action }), kind, 'queue'), /\bct /);
      }
    }
    const loose = { sysctls: { 'netfilter/nf_conntrack_tcp_loose': '1' } };
    const steps = (given: Partial<Options>): string[] =>
      planInstallation(options(given), NFT, { ...facts(CLEAN), ...loose }, undefined).steps.map(
        ({ what }) => what,
      );
    assert.match(steps({}).join(), /tcp_loose/);
    assert.doesNotMatch(steps({ interfaces }).join(), /tcp_loose/);
  });

  it('tells xtables by the decided bit what shall not be queued', () => {
    const marks = { multicast: 0x1000_0000, decided: 0x2000_0000 };
    const text = nftTable(options({ action: 'mark', marks }), 'xtables', 'queue');
    assert.deepEqual(rulesOf(text, 'before-mangle').slice(1), [
      'meta pkttype multicast jump for-host',
      'icmpv6 type { 130-137, 143 } ip6 hoplimit { 1, 255 } meta mark set meta mark & 0xcfff0000 | 0x2000ffff return',
      'ip protocol igmp ip daddr 224.0.0.0/4 meta mark set meta mark & 0xcfff0000 | 0x2000ffff return',
      'ct state invalid,untracked meta mark set meta mark & 0xcfff0000 | 0x20000000 return',
      'meta mark set meta mark & 0xdfff0000',
    ]);
  });

  it('has a chain behind the queue by policy clusterip alone', () => {
    const chains = (given: Partial<Options>): string[] =>
      [...nftTable(options(given), 'nft', 'queue').matchAll(/^add chain \S+ \S+ (\S+)/gm)].map(
        ([, chain]) => chain!,
      );
    assert.deepEqual(chains({}), ['for-host', 'before-queue']);
    assert.deepEqual(chains({ policy: 'clusterip' }), ['before-queue', 'after-queue']);
  });

  it('drops once closed under action drop, and lets pass under action mark', () => {
    assert.equal(rulesOf(nftTable(options(), 'nft', 'closed'), 'before-queue').at(-1), 'drop');
    assert.equal(
      rulesOf(nftTable(options({ action: 'mark' }), 'nft', 'closed'), 'before-queue').at(-1),
      'meta mark set meta mark & 0x3fff0000',
    );
  });
});

describe('the xtables chain', () => {
  it('queues what is not decided, and clears our bits of what is', () => {
    assert.equal(
      xtablesChain(options({ queues: [0, 1], interfaces: ['a', 'b'] }), 'queue', true),
      `*mangle
:nfq-cluster-q0 - [0:0]
-I PREROUTING 1 -j nfq-cluster-q0
-A nfq-cluster-q0 -i a -m mark ! --mark 0x80000000/0x80000000 -j NFQUEUE --queue-balance 0:1
-A nfq-cluster-q0 -i a -j MARK --set-xmark 0x0/0x80000000
-A nfq-cluster-q0 -i b -m mark ! --mark 0x80000000/0x80000000 -j NFQUEUE --queue-balance 0:1
-A nfq-cluster-q0 -i b -j MARK --set-xmark 0x0/0x80000000
COMMIT
`,
    );
    assert.match(
      xtablesChain(options({ queues: [7] }), 'queue', false),
      /^\*mangle\n:nfq-cluster-q7 - \[0:0\]\n-A .* -j NFQUEUE --queue-num 7\n/,
    );
  });

  it('drops once closed under action drop, and lets pass under action mark', () => {
    assert.match(
      xtablesChain(options(), 'closed', false),
      / ! --mark 0x80000000\/0x80000000 -j DROP\n/,
    );
    assert.doesNotMatch(xtablesChain(options({ action: 'mark' }), 'closed', false), /DROP|NFQUEUE/);
  });

  it('has a name that xtables allows, however long the given one', () => {
    const name = 'abcdefghijklmnop';
    assert.ok(/^:(\S+) /m.exec(xtablesChain(options({ name }), 'queue', true))![1]!.length <= 28);
  });

  it('is removed with its jump', () => {
    assert.equal(
      xtablesRemoval('nfq-cluster-q0', 1),
      '*mangle\n-D PREROUTING -j nfq-cluster-q0\n-F nfq-cluster-q0\n-X nfq-cluster-q0\nCOMMIT\n',
    );
    assert.equal(
      xtablesRemoval('nfq-cluster-q0', 0),
      '*mangle\n-F nfq-cluster-q0\n-X nfq-cluster-q0\nCOMMIT\n',
    );
  });
});

describe('a plan', () => {
  const programs = (steps: readonly { program: string }[]) => steps.map(({ program }) => program);

  it('for nft is one transaction', () => {
    const [only, ...more] = installation(options(), NFT, CLEAN);
    assert.deepEqual([only!.program, only!.args, more], ['nft', ['-f', '-'], []]);
  });

  it('for nft-compat sets the queue rule behind the table, in which nothing passes without it', () => {
    const compat: Mechanism = { kind: 'nft-compat' };
    const [table, rule, ...more] = installation(options({ queues: [4, 5] }), compat, CLEAN);
    assert.deepEqual(rulesOf(table!.input!, 'before-queue').slice(-2), ['jump nfqueue', 'drop']);
    assert.doesNotMatch(table!.input!, /flush chain \S+ \S+ nfqueue|rule \S+ \S+ nfqueue/);
    const { program, args } = rule!;
    assert.deepEqual(
      [program, ...args.slice(1), more],
      [process.execPath, 'queue-rule', '--name', 'q4', '--queue', '4-5', []],
    );
    const left: Traces = { ...CLEAN, nftChains: ['nfqueue', 'before-queue', 'after-queue'] };
    const [closed, ...others] = closing(options(), compat, facts(left));
    assert.match(closed!.input!, /^flush chain inet nfq-cluster-q0 nfqueue$/m);
    assert.doesNotMatch(closed!.input!, /jump nfqueue/);
    assert.deepEqual(others, []);
    const [replaced] = installation(options(), XTABLES, left);
    assert.match(
      replaced!.input!,
      /flush chain \S+ \S+ before-queue\n(.*\n)*delete chain inet nfq-cluster-q0 nfqueue\n$/,
    );
  });

  it('for xtables is nft first, so that nothing is queued that shall not be', () => {
    const steps = installation(options(), XTABLES, CLEAN);
    assert.deepEqual(programs(steps), [
      'nft',
      'iptables-nft-restore',
      'ip6tables-nft-restore',
      'nft',
    ]);
    assert.deepEqual(steps[1]!.args, ['--noflush', '-w', '10']);
  });

  it('leaves ip6tables alone where there is no IPv6', () => {
    const steps = installation(options(), { ...XTABLES, ip6tables: undefined }, CLEAN);
    assert.deepEqual(programs(steps), ['nft', 'iptables-nft-restore', 'nft']);
  });

  it('does not insert a second jump', () => {
    const left = CLEAN.xtables.map((variant) => ({
      ...variant,
      chain: true,
      jumps: variant.program === 'iptables-nft' ? 1 : 0,
    }));
    const [, ip, ip6] = installation(options(), XTABLES, { ...CLEAN, xtables: left });
    assert.doesNotMatch(ip!.input!, /PREROUTING/);
    assert.match(ip6!.input!, /-I PREROUTING 1 /);
  });

  it('notes that iptables-nft makes a table, and only then', () => {
    const [table] = installation(options(), XTABLES, { ...CLEAN, mangle: ['ip6'] });
    assert.match(table!.input!, /^add chain inet nfq-cluster-q0 made-ip-mangle$/m);
    assert.doesNotMatch(table!.input!, /made-ip6/);
    const [other] = installation(options(), XTABLES, {
      ...CLEAN,
      mangle: ['ip', 'ip6'],
      made: ['ip6'],
    });
    assert.match(other!.input!, /^add chain inet nfq-cluster-q0 made-ip6-mangle$/m);
    assert.doesNotMatch(other!.input!, /made-ip-/);
  });

  it('empties what another mechanism left, after its own rules stand', () => {
    const left: Traces = {
      ...CLEAN,
      nftChains: ['before-mangle', 'after-mangle', 'made-ip-mangle'],
      xtables: CLEAN.xtables.map((variant) => ({
        ...variant,
        chain: variant.legacy,
        jumps: variant.legacy ? 1 : 0,
      })),
    };
    const steps = installation(options(), NFT, left);
    assert.deepEqual(programs(steps), ['nft', 'iptables-legacy-restore']);
    assert.match(
      steps[0]!.input!,
      /queue num 0\n(.*\n)+flush chain inet nfq-cluster-q0 before-mangle\nflush chain inet nfq-cluster-q0 after-mangle\n$/,
    );
    assert.doesNotMatch(steps[0]!.input!, /made-/);
  });

  it('empties a chain that other options needed', () => {
    const left: Traces = { ...CLEAN, nftChains: ['before-queue', 'after-queue', 'leaving'] };
    const lastOf = (chain: string, more: Partial<Options>): string =>
      installation(options({ rules: 'auto', ...more }), NFT, left)[0]!
        .input!.split('\n')
        .findLast((line) => line.includes(`nfq-cluster-q0 ${chain}`))!;
    assert.match(lastOf('leaving', {}), /^flush/);
    assert.match(lastOf('leaving', { conntrack: 'mark' }), /^add rule/);
    assert.match(lastOf('after-queue', {}), /^flush/);
    assert.match(lastOf('after-queue', { policy: 'clusterip' }), /^add rule/);
  });

  it('to close and to revert does nothing where nothing is', () => {
    for (const mechanism of [NFT, XTABLES])
      assert.deepEqual(closing(options(), mechanism, facts(CLEAN)), []);
    assert.deepEqual(xtablesRevert('nfq-cluster-q0', CLEAN), []);
    assert.deepEqual(nftRevert('nfq-cluster-q0', CLEAN, {}), []);
  });

  it('to revert deletes a table mangle that was made for us and is empty', () => {
    const traces: Traces = {
      ...CLEAN,
      nftChains: ['made-ip-mangle', 'made-ip6-mangle'],
      mangle: ['ip', 'ip6'],
    };
    assert.deepEqual(mangleMade(traces), ['ip', 'ip6']);
    const tables = {
      ip: 'table ip mangle {\n\tchain PREROUTING {\n\t\ttype filter hook prerouting priority mangle; policy accept;\n\t}\n}\n',
      ip6: 'table ip6 mangle {\n\tchain PREROUTING {\n\t\ttype filter hook prerouting priority mangle; policy accept;\n\t\tcounter packets 0 bytes 0 drop\n\t}\n}\n',
    };
    const [step] = nftRevert('nfq-cluster-q0', traces, tables);
    const lines = step!.input!.trim().split('\n');
    assert.deepEqual(
      lines.filter((line) => line.startsWith('delete')),
      ['delete table inet nfq-cluster-q0', 'delete table ip mangle'],
    );
  });

  it('to revert deletes no base chain while packets are held', () => {
    const nftChains = ['before-mangle', 'after-mangle', 'made-ip-mangle', 'undo', 'queues-0-0'];
    const [step] = nftRevert('t', { ...CLEAN, nftChains, arp: true }, undefined);
    assert.equal(
      step!.input!,
      'flush table inet t\ndelete chain inet t undo\ndelete chain inet t queues-0-0\nflush table arp t\n',
    );
    assert.deepEqual(nftRevert('t', CLEAN, undefined), []);
  });
});
