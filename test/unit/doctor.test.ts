import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { constants } from 'node:os';
import type { DoctorFacts, Link, Subject } from '../../src/doctor/facts.js';
import { diagnose } from '../../src/doctor/index.js';
import { parseSockets } from '../../src/doctor/listeners.js';
import type { Expr } from '../../src/doctor/netfilter.js';
import type { ErrorCode } from '../../src/errors.js';
import { filledChains } from '../../src/setup/compare.js';
import { parseQueues } from '../../src/setup/held.js';
import {
  HEALTHY,
  MAC,
  SUBJECT,
  chain,
  engine,
  entersBy,
  marking,
  named,
  ofNft,
  rule,
  wrong,
} from './diagnosed.js';

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

  it('warns of IPVS, which leaves connections untracked, where they are followed', () => {
    const ipvs = (kept: string, stateless = false): string[] => {
      const interfaces = { eth0: { index: 2, mac: '', addresses: [], macs: [MAC] } };
      const sysctls = { 'netfilter/nf_conntrack_max': '1', 'ipv4/vs/conntrack': kept };
      const subjects = { known: [{ ...SUBJECT, stateless }] };
      return named(wrong({ subjects, system: { known: { interfaces, sysctls } } }));
    };
    assert.deepEqual(ipvs('0'), ['warning conntrack']);
    assert.deepEqual(ipvs('0', true), []);
    assert.deepEqual(ipvs('1'), []);
  });

  it('asks for the capability that is missing', () => {
    assert.deepEqual(named(wrong({ capabilities: { known: 0n } })), ['error privileges']);
    assert.deepEqual(named(wrong({ netns: '/run/netns/a' })), ['error privileges']);
    const both = { known: (1n << 12n) | (1n << 21n) };
    assert.deepEqual(wrong({ netns: '/run/netns/a', capabilities: both }), []);
  });

  it('tells a capability that does not count here', () => {
    const refused = (facts: Partial<DoctorFacts>): string | undefined => named(wrong(facts))[0];
    const by = (code: ErrorCode): { unknown: string; code: ErrorCode } => ({ unknown: '', code });
    assert.equal(refused({ mechanism: by('ERR_PRIVILEGE') }), 'error privileges');
    assert.equal(refused({ nft: by('ERR_PRIVILEGE') }), 'error privileges');
    assert.equal(refused({ mechanism: by('ERR_RULES') }), 'error queue rule');
  });

  it('asks for options only if there are none', () => {
    const told = (compared: Subject['compared']): (string | undefined)[] =>
      wrong({ subjects: { known: [{ ...SUBJECT, compared }] } }).map(
        ({ level, remedy }) => `${level} ${remedy}`,
      );
    assert.deepEqual(told(undefined), ['warning Give the options of the setup']);
    assert.match(told('unknown').join(), /^skipped That takes a network namespace/);
  });

  it('prints a command for the network namespace that it looked at', () => {
    const [finding] = wrong({
      netns: '/run/netns/a b',
      capabilities: { known: ~0n },
      links: { known: [{ name: 'eth0', up: false, carrier: false }] },
    });
    assert.equal(finding!.command, "nsenter --net='/run/netns/a b' ip link set eth0 up");
  });

  it('tells an interface that is absent, a port, or has no carrier', () => {
    const found = (known: Link[]): string[] =>
      wrong({ links: { known } }).map((finding) => finding.found);
    assert.deepEqual(found([]), ['There is no interface eth0']);
    assert.deepEqual(found([{ name: 'eth0', up: true, carrier: true, arrivesOn: 'bond0' }]), [
      'What eth0 receives arrives on bond0, and is not decided',
    ]);
    assert.deepEqual(found([{ name: 'eth0', up: true, carrier: false }]), [
      'eth0 is up but has no carrier',
    ]);
  });

  it('warns of a bridge with other ports, unless only what is for the cluster is decided', () => {
    const found = (bridged: string, ports = 2, subject: Partial<Subject> = {}): string[] =>
      named(
        wrong({
          subjects: { known: [{ ...SUBJECT, ...subject }] },
          system: {
            known: {
              interfaces: { eth0: { index: 2, mac: '', addresses: [], macs: [MAC] } },
              sysctls: {
                'netfilter/nf_conntrack_max': '1',
                'bridge/bridge-nf-call-ip6tables': bridged,
              },
            },
          },
          links: {
            known: [
              { name: 'eth0', up: true, carrier: true, bridgesByRules: false },
              ...Array.from({ length: ports }, (_, index) => ({
                ...{ name: `port${index}`, up: true, carrier: true, portOf: 'eth0' },
              })),
            ],
          },
        }),
      );
    assert.deepEqual(found('1'), ['warning bridge']);
    assert.deepEqual(found('0'), []);
    assert.deepEqual(found('1', 1), []);
    assert.deepEqual(found('1', 2, { narrow: ['eth0'] }), []);
  });

  it('finds a flowtable on what carries an interface: ports of a bridge, below a VLAN', () => {
    const up = { up: true, carrier: true };
    const flowtable = { family: 'ip', table: 't', name: 'f', dev: ['port'] };
    const nft: DoctorFacts['nft'] = {
      known: [
        { flowtable },
        { rule: { ...flowtable, chain: 'c', handle: 4, expr: [{ flow: { flowtable: '@f' } }] } },
      ],
    };
    const found = (eth0: Partial<Link>, ...others: Link[]): string[] =>
      named(wrong({ nft, links: { known: [{ name: 'eth0', ...up, ...eth0 }, ...others] } }));
    const port = { name: 'port', ...up };
    const bridge = { bridgesByRules: false };
    assert.deepEqual(found(bridge, { ...port, portOf: 'eth0' }), ['error flowtable']);
    assert.deepEqual(found(bridge, port), []);
    assert.deepEqual(found({ vlan: true, above: 'port' }, port), ['error flowtable']);
    assert.deepEqual(found({ vlan: false, above: 'port' }, port), []);
    const br0 = { name: 'br0', ...up, ...bridge };
    assert.deepEqual(found({ vlan: true, above: 'br0' }, br0, { ...port, portOf: 'br0' }), [
      'error flowtable',
    ]);
  });

  it('finds an interface above a bridge whose packets rules see only there', () => {
    const found = (
      eth0: Partial<Link>,
      parameters: string[],
      br0: Partial<Link> = {},
    ): string[] => {
      const up = { up: true, carrier: true };
      const set = parameters.map((name): [string, string] => [`bridge/bridge-nf-${name}`, '1']);
      const sysctls = Object.fromEntries<string>([['netfilter/nf_conntrack_max', '1'], ...set]);
      const interfaces = { eth0: { index: 2, mac: '', addresses: [], macs: [MAC] } };
      return named(
        wrong({
          system: { known: { interfaces, sysctls } },
          links: {
            known: [
              { name: 'eth0', ...up, ...eth0 },
              { name: 'br0', ...up, bridgesByRules: false, ...br0 },
              { name: 'br0.5', ...up, vlan: true, above: 'br0' },
            ],
          },
        }),
      );
    };
    const macvlan = { above: 'br0' };
    const vlan = { above: 'br0', vlan: true };
    const onVlan = { above: 'br0.5' };
    const ipv4 = 'call-iptables';
    const tagged = 'filter-vlan-tagged';
    const byVlan = 'pass-vlan-input-dev';
    assert.deepEqual(found(macvlan, [ipv4]), ['error bridge']);
    assert.deepEqual(found(macvlan, []), []);
    assert.deepEqual(found(macvlan, [], { bridgesByRules: true }), ['error bridge']);
    for (const link of [vlan, onVlan]) {
      assert.deepEqual(found(link, [ipv4]), []);
      assert.deepEqual(found(link, [tagged]), []);
      assert.deepEqual(found(link, [ipv4, tagged]), ['error bridge']);
    }
    assert.deepEqual(found(vlan, [ipv4, tagged, byVlan]), []);
    assert.deepEqual(found(onVlan, [ipv4, tagged, byVlan]), ['error bridge']);
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
  it('finds conntrack zones, in which ctnetlink is not asked', () => {
    const zone = { mangle: { key: { ct: { key: 'zone' } }, value: 5 } };
    const nft = { known: [chain('prerouting'), rule([zone])] };
    assert.deepEqual(named(wrong({ nft })), ['warning zones']);
    const subjects = { known: [{ ...SUBJECT, looksUp: false }] };
    assert.deepEqual(wrong({ nft, subjects }), []);
  });

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
    const ft = { family: 'inet', table: 't', name: 'f' };
    const adds = rule([{ flow: { op: 'add', flowtable: '@f' } }]);
    const flowtable = (dev: string | string[], links: Link[] = [], used = adds): string[] =>
      named(
        wrong({
          nft: { known: [{ flowtable: { ...ft, dev } }, used] },
          links: { known: [{ name: 'eth0', up: true, carrier: true }, ...links] },
        }),
      );
    assert.deepEqual(flowtable(['eth1', 'eth0']), ['error flowtable']);
    assert.deepEqual(flowtable('eth1'), []);
    assert.deepEqual(flowtable(['eth*']), ['error flowtable']);
    assert.deepEqual(flowtable(['et*', 'eth1*']), ['error flowtable']);
    assert.deepEqual(flowtable('eth0', [], rule([{ drop: null }])), ['warning flowtable']);
    const other = rule([{ flow: { op: 'add', flowtable: '@f' } }], 'c', 'other');
    assert.deepEqual(flowtable('eth0', [], other), ['warning flowtable']);
    const ingress = (dev?: string): string[] =>
      named(ofNft(chain('ingress', { dev }), rule([{ drop: null }])));
    assert.deepEqual(ingress('eth0'), ['warning ingress']);
    assert.deepEqual(ingress('eth1'), []);
    assert.deepEqual(ingress('eth*'), ['warning ingress']);
    assert.deepEqual(ingress(), ['warning ingress']);
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

describe('what doctor reads', () => {
  it('of queues and their sockets', () => {
    assert.deepEqual(parseQueues('    0  4242     3 2 65531     5     6       99  1\n'), [
      { queue: 0, port: '4242', held: 3, lost: 11 },
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
