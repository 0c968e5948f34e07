import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { constants } from 'node:os';
import type { DoctorFacts, Subject } from '../../src/doctor/facts.js';
import { diagnose, type Finding } from '../../src/doctor/index.js';
import { parseQueues, parseSockets } from '../../src/doctor/listeners.js';
import type { Expr, Netfilter } from '../../src/doctor/netfilter.js';
import { filledChains } from '../../src/setup/compare.js';

const MAC = '03:00:00:00:00:02';

const SUBJECT: Subject = {
  name: 'q0',
  queues: [0, 1],
  interfaces: ['eth0'],
  rules: true,
  compared: 'same',
  changes: [{ kind: 'mac', on: 'eth0', value: MAC }],
  shared: [{ address: '192.0.2.10', mac: MAC, on: 'eth0' }],
  priority: -152,
  stateless: false,
  action: 'drop',
  marks: {
    owned: { value: 0xffff, mask: 0xffff },
    multicast: 0x4000_0000,
    decided: 0x8000_0000,
    direct: 0,
    bucket: 0,
  },
};

const engine = (queue: number, lost = 0) => ({
  queue,
  lost,
  process: { id: 7, name: 'node', hasEngine: true },
});

const HEALTHY: DoctorFacts = {
  netns: undefined,
  programs: [{ name: 'nft', missing: undefined }],
  capabilities: { known: 1n << 12n },
  probe: { known: { bind: 0, conntrack: 0 } },
  mechanism: { known: { kind: 'nft' } },
  jhash: { known: true },
  system: {
    known: {
      interfaces: { eth0: { index: 2, mac: '02:00:00:00:00:01', addresses: [], macs: [MAC] } },
      sysctls: { 'netfilter/nf_conntrack_max': '65536' },
    },
  },
  subjects: { known: [SUBJECT] },
  links: { known: [{ name: 'eth0', up: true, carrier: true }] },
  neighbours: { known: [{ address: '192.0.2.10', on: 'eth0', mac: MAC }] },
  listeners: { known: [engine(0), engine(1)] },
  nft: { known: [] },
  xtables: { known: [] },
};

/** What is wrong where these facts differ from a healthy node's: level and check, and all that is said. */
function wrong(different: Partial<DoctorFacts>): Finding[] {
  const { findings } = diagnose({ ...HEALTHY, ...different });
  return findings.filter(({ level, check }) => level !== 'ok' && check !== 'routers');
}

const named = (findings: Finding[]): string[] =>
  findings.map(({ level, check }) => `${level} ${check}`);

const chain = (hook: string, more: object = {}): Netfilter => ({
  chain: { family: 'inet', table: 't', name: 'c', hook, prio: -300, policy: 'accept', ...more },
});

const rule = (expr: Expr[], on = 'c', table = 't'): Netfilter => ({
  rule: { family: 'inet', table, chain: on, handle: 4, expr },
});

const entersBy = (right: unknown): Expr => ({
  match: { op: '==', left: { meta: { key: 'iifname' } }, right },
});

const ofNft = (...known: Netfilter[]): Finding[] => wrong({ nft: { known } });

const ofXtables = (...lines: string[]): Finding[] =>
  wrong({
    xtables: {
      known: [{ program: 'iptables-nft', family: 'ip', legacy: false, text: lines.join('\n') }],
    },
  });

const marking: Partial<DoctorFacts> = { subjects: { known: [{ ...SUBJECT, action: 'mark' }] } };

describe('doctor', () => {
  it('has nothing to say against a healthy node', () => {
    assert.deepEqual(wrong({}), []);
    assert.equal(diagnose(HEALTHY).healthy, true);
  });

  it('calls what is not known skipped, never ok', () => {
    const unknown = { unknown: 'no right' };
    const all = Object.fromEntries(
      Object.entries(HEALTHY).map(([name, fact]) => [
        name,
        fact !== null && typeof fact === 'object' && 'known' in fact ? unknown : fact,
      ]),
    ) as unknown as DoctorFacts;
    const { findings } = diagnose({ ...all, mechanism: { ...unknown, code: 'ERR_PRIVILEGE' } });
    const fine = findings.filter(({ level }) => level === 'ok').map(({ check }) => check);
    assert.deepEqual(fine, ['programs']);
    assert.ok(findings.length > 10);
  });

  it('knows what a kernel cannot do', () => {
    const { ENOTSUP, EINVAL, EPERM } = constants.errno;
    const probed = (bind: number, conntrack: number): string[] =>
      named(wrong({ probe: { known: { bind, conntrack } } }));
    assert.deepEqual(probed(0, ENOTSUP), ['warning conntrack glue']);
    assert.deepEqual(probed(0, EINVAL), ['skipped conntrack glue']);
    assert.deepEqual(probed(EINVAL, EINVAL), ['error NFQUEUE', 'skipped conntrack glue']);
    assert.deepEqual(probed(EPERM, EPERM), ['skipped NFQUEUE', 'skipped conntrack glue']);
    assert.deepEqual(named(wrong({ jhash: { known: false } })), ['warning nft jhash']);
    const none = { unknown: 'no queue statement', code: 'ERR_NO_NFQUEUE' } as const;
    assert.deepEqual(named(wrong({ mechanism: none })), ['error queue rule']);
    const system = {
      known: { interfaces: { eth0: { index: 2, mac: '', addresses: [], macs: [MAC] } } },
    };
    assert.deepEqual(named(wrong({ system: { known: { ...system.known, sysctls: {} } } })), [
      'error conntrack',
    ]);
  });

  it('asks a stateless setup for no connections', () => {
    const stateless = { subjects: { known: [{ ...SUBJECT, stateless: true }] } };
    const interfaces = { eth0: { index: 2, mac: '', addresses: [], macs: [MAC] } };
    const system = { known: { interfaces, sysctls: {} } };
    assert.deepEqual(named(wrong({ ...stateless, system })), ['skipped conntrack']);
    const nft = { known: [chain('prerouting'), rule([{ notrack: null }])] };
    assert.deepEqual(wrong({ ...stateless, nft }), []);
  });

  it('asks for the capability that is missing', () => {
    assert.deepEqual(named(wrong({ capabilities: { known: 0n } })), ['error privileges']);
    assert.deepEqual(named(wrong({ netns: '/run/netns/a' })), ['error privileges']);
    const both = { known: (1n << 12n) | (1n << 21n) };
    assert.deepEqual(wrong({ netns: '/run/netns/a', capabilities: both }), []);
  });

  it('prints a command for the network namespace that it looked at', () => {
    const [finding] = wrong({
      netns: '/run/netns/a b',
      capabilities: { known: ~0n },
      links: { known: [{ name: 'eth0', up: false, carrier: false }] },
    });
    assert.equal(finding!.command, "nsenter --net='/run/netns/a b' ip link set eth0 up");
  });

  it('tells an interface that is absent or has no carrier', () => {
    const found = (known: { name: string; up: boolean; carrier: boolean }[]): string[] =>
      wrong({ links: { known } }).map((finding) => finding.found);
    assert.deepEqual(found([]), ['There is no interface eth0']);
    assert.deepEqual(found([{ name: 'eth0', up: true, carrier: false }]), [
      'eth0 is up and has no carrier',
    ]);
  });

  it('looks at every queue, and at what each has lost', () => {
    const found = wrong({ listeners: { known: [engine(0, 3)] } });
    assert.deepEqual(named(found), ['warning lost packets', 'error queue listener']);
    const hidden = { ...engine(1), process: undefined };
    assert.deepEqual(named(wrong({ listeners: { known: [engine(0), hidden] } })), [
      'skipped queue listener',
    ]);
  });

  it('tells a neighbour that has the MAC of the cluster as its own', () => {
    const known = [
      { address: '192.0.2.10', on: 'eth0', mac: MAC },
      { address: '192.0.2.3', on: 'eth0', mac: MAC },
    ];
    assert.match(wrong({ neighbours: { known } })[0]!.found, /^192\.0\.2\.3 on eth0/);
    const unresolved = [{ address: '192.0.2.10', on: 'eth0', mac: undefined }];
    assert.deepEqual(named(wrong({ neighbours: { known: unresolved } })), ['skipped peers']);
  });
});

describe('doctor, of rules of nft', () => {
  it('finds notrack also behind a jump or a goto, but not for another interface', () => {
    const notrack = { notrack: null };
    const way = (verdict: Expr): string[] =>
      named(ofNft(chain('prerouting'), rule([verdict]), rule([notrack], 'further')));
    assert.deepEqual(way({ jump: { target: 'further' } }), ['error notrack']);
    assert.deepEqual(way({ goto: { target: 'further' } }), ['error notrack']);
    assert.deepEqual(way({ counter: null }), []);
    const only = (right: unknown): string[] =>
      named(ofNft(chain('prerouting'), rule([entersBy(right), notrack])));
    assert.deepEqual(only('eth1'), []);
    assert.deepEqual(only({ set: ['eth1', 'eth0'] }), ['error notrack']);
    assert.deepEqual(only('eth*'), ['error notrack']);
  });

  it('does not end in a circle of jumps', () => {
    const circle = ofNft(chain('prerouting'), rule([{ jump: { target: 'c' } }]));
    assert.deepEqual(circle, []);
  });

  it('finds what drops before the decision, not what does behind it', () => {
    const drop = rule([{ drop: null }]);
    assert.deepEqual(named(ofNft(chain('prerouting'), drop)), ['warning nft rules']);
    assert.deepEqual(ofNft(chain('prerouting', { prio: 0 }), drop), []);
    assert.deepEqual(named(ofNft(chain('prerouting', { policy: 'drop' }))), ['warning nft rules']);
    assert.deepEqual(ofNft(chain('prerouting'), rule([{ accept: null }])), []);
  });

  it('finds who else queues to our queues, and every bypass', () => {
    const queues = (queue: object, table?: string): string[] =>
      named(ofNft(rule([{ queue }], 'c', table)));
    assert.deepEqual(queues({ num: 1 }), ['error queue users']);
    assert.deepEqual(queues({ num: { range: [1, 4] } }), ['error queue users']);
    assert.deepEqual(queues({ num: 2 }), []);
    const counted = { mode: 'inc', mod: 4 };
    assert.deepEqual(queues({ num: { numgen: { ...counted, offset: 1 } } }), ['error queue users']);
    assert.deepEqual(queues({ num: { numgen: { ...counted, offset: 2 } } }), []);
    assert.deepEqual(queues({ num: { symhash: { mod: 2 } } }), ['error queue users']);
    const key = { payload: { protocol: 'tcp', field: 'dport' } };
    assert.deepEqual(queues({ num: { map: { key, data: '@m' } } }), ['warning queue users']);
    assert.deepEqual(queues({ num: 0, flags: 'bypass' }), ['error bypass']);
    assert.deepEqual(queues({ num: 0, flags: ['fanout', 'bypass'] }, 'nfq-cluster-q0'), [
      'error bypass',
    ]);
    assert.deepEqual(queues({ num: 0 }, 'nfq-cluster-q0'), []);
  });

  it("takes rules that queue for right where the rules are the user's own, but no bypass", () => {
    const own = { subjects: { known: [{ ...SUBJECT, compared: 'own' as const }] } };
    const queues = (queue: object): string[] =>
      named(wrong({ ...own, nft: { known: [rule([{ queue }])] } }));
    assert.deepEqual(queues({ num: 0 }), ['skipped setup']);
    assert.deepEqual(queues({ num: 0, flags: 'bypass' }), ['skipped setup', 'error bypass']);
  });

  it('finds flowtables and ingress chains on the interfaces', () => {
    const flowtable = (dev: string | string[]): string[] =>
      named(ofNft({ flowtable: { family: 'inet', table: 't', name: 'f', dev } }));
    assert.deepEqual(flowtable(['eth1', 'eth0']), ['error flowtable']);
    assert.deepEqual(flowtable('eth1'), []);
    const ingress = (dev: string): string[] =>
      named(ofNft(chain('ingress', { dev }), rule([{ drop: null }])));
    assert.deepEqual(ingress('eth0'), ['warning ingress']);
    assert.deepEqual(ingress('eth1'), []);
  });

  it('finds marks that collide with ours, by what each action uses', () => {
    const set = (value: unknown, prio: number, different: Partial<DoctorFacts> = {}): string[] => {
      const mangle = { key: { meta: { key: 'mark' } }, value };
      const known = [chain('prerouting', { prio }), rule([{ mangle }])];
      return named(wrong({ ...different, nft: { known } }));
    };
    const or = (bits: number): unknown => ({ '|': [{ meta: { key: 'mark' } }, bits] });
    assert.deepEqual(set(0x8000_0000, -300), ['warning marks']);
    assert.deepEqual(set(or(0x4000_0000), -300), ['warning marks']);
    assert.deepEqual(set(0x1, -300), []);
    assert.deepEqual(set(0x1, -300, marking), ['warning marks']);
    assert.deepEqual(set(0x1, 0), []);
    assert.deepEqual(set(0x1, 0, marking), ['warning marks']);
    assert.deepEqual(set(or(0x10_0000), 0, marking), []);
    const known = [
      chain('prerouting', { prio: -300 }),
      rule([{ mangle: { key: { meta: { key: 'mark' } }, value: 0x8000_0000 } }]),
    ];
    const flags = /--mark, --multicast-bit, --decided-bit, --direct-bit and --bucket-bits/;
    assert.match(wrong({ nft: { known } })[0]!.remedy!, flags);
  });
});

describe('doctor, of rules of iptables', () => {
  it('finds both of the decisions that it replaces', () => {
    const cluster = '-A INPUT -m cluster --cluster-local-nodemask 0x00000001 -j DROP';
    const found = ofXtables('*filter', '-A INPUT -j ACCEPT', cluster, 'COMMIT');
    assert.deepEqual(named(found), ['error -m cluster']);
    assert.equal(found[0]!.command, 'iptables-nft -t filter -D INPUT 2');
    const ip = '-A INPUT -d 192.0.2.10/32 -i eth0 -j CLUSTERIP --new';
    assert.deepEqual(named(ofXtables('*filter', ip)), ['error -j CLUSTERIP']);
    const comment = '-A INPUT -m comment --comment "-m cluster" -j ACCEPT';
    assert.deepEqual(ofXtables('*filter', comment), []);
  });

  it('finds what stands before our rule in mangle, or takes packets from tracking', () => {
    const ours = '-A PREROUTING -j nfq-cluster-q0';
    const other = '-A PREROUTING -s 192.0.2.1/32 -j ACCEPT';
    assert.deepEqual(named(ofXtables('*mangle', other, ours)), ['error rule order']);
    assert.deepEqual(ofXtables('*mangle', ours, other), []);
    assert.deepEqual(named(ofXtables('*raw', '-A PREROUTING -j CT --notrack')), ['error notrack']);
    assert.deepEqual(named(ofXtables('*raw', '-A PREROUTING -j NOTRACK')), ['error notrack']);
    assert.deepEqual(ofXtables('*raw', '-A PREROUTING -i eth1 -j NOTRACK'), []);
    assert.deepEqual(named(ofXtables('*raw', '-A PREROUTING ! -i eth1 -j NOTRACK')), [
      'error notrack',
    ]);
    assert.deepEqual(ofXtables('*raw', '-A OUTPUT -j NOTRACK'), []);
  });

  it('finds what drops in raw: a rule, also behind a jump, and the policy', () => {
    const drop = ['-A x -j DROP', '-A y -j x'];
    assert.deepEqual(named(ofXtables('*raw', ...drop, '-A PREROUTING -j y')), [
      'warning iptables rules',
    ]);
    assert.deepEqual(ofXtables('*raw', ...drop, '-A OUTPUT -j y', '-A y -j y'), []);
    const chains = [':OUTPUT ACCEPT [0:0]', ':PREROUTING DROP [0:0]'];
    assert.deepEqual(named(ofXtables('*raw', ...chains)), ['warning iptables rules']);
    assert.deepEqual(ofXtables('*raw', ':PREROUTING ACCEPT [0:0]', '*nat', ...chains), []);
  });

  it('deletes the last rule of a chain first, as numbers change behind one that is gone', () => {
    const rule = '-A PREROUTING -j NFQUEUE --queue-num 0';
    assert.deepEqual(
      ofXtables('*raw', rule, rule).map(({ command }) => command),
      ['iptables-nft -t raw -D PREROUTING 2', 'iptables-nft -t raw -D PREROUTING 1'],
    );
  });

  it('finds marks that collide with ours', () => {
    const mark = (value: string): string => `-A PREROUTING -j MARK --set-xmark ${value}`;
    const found = ofXtables('*raw', mark('0x80000000/0xffffffff'));
    assert.deepEqual(named(found), ['warning marks']);
    const flags = /--mark, --multicast-bit, --decided-bit, --direct-bit and --bucket-bits/;
    assert.match(found[0]!.remedy!, flags);
    assert.deepEqual(ofXtables('*raw', mark('0x1/0xff')), []);
  });
});

describe('what doctor reads', () => {
  it('of queues and their sockets', () => {
    assert.deepEqual(parseQueues('    0  4242     3 2 65531     5     6       99  1\n'), [
      { queue: 0, port: '4242', lost: 11 },
    ]);
    const sockets = [
      'sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode',
      '0000000000000000 12  4242       00000000 0        0        0     2        0        777',
      '0000000000000000 0   4243       00000000 0        0        0     2        0        778',
    ];
    assert.deepEqual([...parseSockets(sockets.join('\n'))], [['4242', '777']]);
  });

  it('of a table only the chains that decide', () => {
    const base = '\tchain b {\n\t\ttype filter hook output priority 0; policy accept;\n';
    const listed = `table inet t {\n${base}\t\tdrop\n\t}\n\n\tchain undo {\n\t\tdrop\n\t}\n}\n`;
    assert.match(filledChains(listed), /^\tchain b \{/);
    assert.doesNotMatch(filledChains(listed), /undo/);
    assert.equal(filledChains(`table inet t {\n${base}\t}\n}\n`), '');
  });
});
