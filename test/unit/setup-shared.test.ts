/* What all nodes share: the options for it, the order in which it is set up, and what neighbours are told. */
import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import type { InterfaceOptions, Options } from '../../src/options/types.js';
import { resolveOptions } from '../../src/options/resolve.js';
import type { Offload } from '../../src/options/conntrack.js';
import { asText, fromText, type Change } from '../../src/setup/changes.js';
import type { Facts } from '../../src/setup/facts.js';
import { heldPackets } from '../../src/setup/held.js';
import { digest, parseMarkers } from '../../src/setup/markers.js';
import { compensation } from '../../src/setup/neighbours.js';
import { installation } from '../../src/setup/plan.js';
import { undoing } from '../../src/setup/removal.js';
import { asList, asScript } from '../../src/setup/script.js';
import { refuses } from './expectations.js';

const MAC = '03:00:c0:00:02:0a';

const options = (entry: Partial<InterfaceOptions>, more: Partial<Options> = {}) =>
  resolveOptions({
    interfaces: [{ name: 'eth0', ...entry }],
    hashSeed: 1,
    totalNodes: 2,
    localNode: 1,
    ...more,
  });

describe('what is shared', () => {
  it('is written as the kernel prints it', () => {
    const addresses = ['192.0.2.10/24', '2001:DB8:0:0::10/64'];
    const [entry] = options({ addresses, mac: MAC.toUpperCase() }).interfaces;
    assert.deepEqual(entry, {
      name: 'eth0',
      key: 'source',
      addresses: [
        { address: '192.0.2.10', prefix: 24, family: 4 },
        { address: '2001:db8::10', prefix: 64, family: 6 },
      ],
      mac: MAC,
      group: undefined,
      destinations: 'all',
    });
  });

  it('narrows what is decided to the addresses, where it is asked to or was so', () => {
    const shared = { addresses: ['192.0.2.10/24'], mac: MAC };
    const destinations = (entry: Partial<InterfaceOptions>, more: Partial<Options> = {}) =>
      options(entry, more).interfaces[0]!.destinations;
    assert.equal(destinations({ ...shared, destinations: 'addresses' }), 'addresses');
    assert.equal(destinations(shared, { policy: 'clusterip' }), 'addresses');
    assert.equal(destinations({ ...shared, destinations: 'all' }, { policy: 'clusterip' }), 'all');
    assert.equal(destinations({}, { policy: 'clusterip' }), 'all');
    assert.throws(() => options({ destinations: 'addresses' }), {
      code: 'ERR_INVALID_OPTION',
      message:
        /^Expected 'all' where there are no cluster addresses for interfaces\.0\.destinations/,
    });
  });

  it('takes its MAC from a group', () => {
    assert.equal(options({ group: '239.192.2.10' }).interfaces[0]!.mac, '01:00:5e:40:02:0a');
    assert.equal(options({ group: '224.1.1.1' }).interfaces[0]!.mac, '01:00:5e:01:01:01');
    refuses(() => options({ group: '239.192.2.10', mac: MAC }), {
      name: 'interfaces.0.mac',
      expected: '01:00:5e:40:02:0a, the MAC of group 239.192.2.10,',
      value: MAC,
    });
  });

  const refused = (name: string, expected: string, values: readonly unknown[]): void => {
    for (const value of values) {
      const field = name === 'addresses' ? { addresses: [value], mac: MAC } : { [name]: value };
      const at = `interfaces.0.${name}${name === 'addresses' ? '.0' : ''}`;
      test(`refuses ${JSON.stringify(value)} for ${name}`, () =>
        refuses(() => options(field as never), { name: at, expected, value }));
    }
  };
  refused('mac', 'a multicast MAC, whose first octet is odd, such as 03:00:c0:00:02:0a', [
    '02:00:00:00:00:01',
    'ff:ff:ff:ff:ff:ff',
    '03:00:00:00:00',
    '03-00-00-00-00-01',
    3,
  ]);
  refused('group', 'an IPv4 multicast group outside 224.0.0.0/24, such as 239.192.2.10', [
    '224.0.0.5',
    '192.0.2.1',
    'ff02::1',
  ]);
  refused('addresses', 'a unicast address with its prefix length, such as 192.0.2.10/24', [
    '192.0.2.10',
    '192.0.2.10/33',
    '192.0.2.10/0',
    '2001:db8::1/129',
    '239.1.1.1/32',
    '127.0.0.1/8',
    'fe80::1/64',
    'fe80::1%eth0/64',
    '::1/128',
    'ff02::1/128',
    10,
  ]);

  it('needs a MAC for its addresses, and each address once', () => {
    refuses(() => options({ addresses: ['192.0.2.1/24'] }), {
      name: 'interfaces.0.mac',
      expected: 'a cluster MAC, or a group, where there are cluster addresses',
      value: undefined,
      remedy: 'Without it every node would answer for the address with a MAC of its own.',
    });
    refuses(() => options({ addresses: ['2001:db8::1/64', '2001:db8:0::1/56'], mac: MAC }), {
      name: 'interfaces',
      expected: 'each cluster address once',
      value: '2001:db8::1',
    });
  });
});

const FACTS: Facts = {
  traces: {
    nftChains: undefined,
    emptied: [],
    arp: false,
    setups: {},
    mangle: [],
    made: [],
    xtables: [],
  },
  journal: [],
  others: [],
  interfaces: { eth0: { index: 2, mac: '02:00:00:00:00:02', addresses: [], macs: [] } },
  sysctls: {
    'netfilter/nf_conntrack_tcp_loose': '1',
    'ipv4/conf/eth0/promote_secondaries': '0',
    'ipv6/conf/eth0/drop_unicast_in_l2_multicast': '0',
  },
};
const SHARED = { addresses: ['192.0.2.10/24', '2001:db8::10/64'], mac: MAC };

const steps = (entry: Partial<InterfaceOptions>, facts: Partial<Facts> = {}) =>
  installation(options(entry), { kind: 'nft' }, { ...FACTS, ...facts }, undefined).steps;
const lines = (of: ReturnType<typeof steps>): string[] =>
  of.filter(({ inPlace }) => !inPlace).map(({ program, args }) => [program, ...args].join(' '));
const journal = (of: ReturnType<typeof steps>): string[] =>
  [...of[0]!.input!.matchAll(/undo continue comment "(.*)"/g)].map((match) => match[1]!);

describe('the steps', () => {
  it('are rules, kernel parameters, MAC, addresses; and no more than is missing', () => {
    assert.deepEqual(lines(steps(SHARED)), [
      'nft -f -',
      'sysctl -w net/netfilter/nf_conntrack_tcp_loose=0',
      'sysctl -w net/ipv4/conf/eth0/promote_secondaries=1',
      `ip maddress add ${MAC} dev eth0`,
      'ip address add 192.0.2.10/24 dev eth0',
      'ip address add 2001:db8::10/64 dev eth0 nodad preferred_lft 0',
    ]);
  });

  it('each say why, and what undoes them', () => {
    for (const step of steps(SHARED)) {
      assert.match(step.why, /^[A-Z].*\.$/);
      assert.equal(step.undo === undefined, step.inPlace, step.what);
    }
    const undone = steps(SHARED).map(({ undo }) => undo?.args.join(' '));
    assert.deepEqual(undone.filter(Boolean).slice(1), [
      '-w net/netfilter/nf_conntrack_tcp_loose=1',
      '-w net/ipv4/conf/eth0/promote_secondaries=0',
      `maddress del ${MAC} dev eth0`,
      'address del 192.0.2.10/24 dev eth0',
      'address del 2001:db8::10/64 dev eth0',
    ]);
  });

  it('join a group by an address that is never a source', () => {
    const line = lines(steps({ ...SHARED, mac: undefined, group: '239.192.2.10' } as never))[3];
    assert.equal(line, 'ip address add 239.192.2.10/32 dev eth0 scope host autojoin');
  });

  it("remember what is theirs, not the administrator's, and the first of the earlier values", () => {
    assert.deepEqual(journal(steps(SHARED)), [
      'sysctl netfilter/nf_conntrack_tcp_loose 0 1',
      'sysctl ipv4/conf/eth0/promote_secondaries 1 0',
      `mac eth0 ${MAC}`,
      'address eth0 192.0.2.10/24',
      'address eth0 2001:db8::10/64',
    ]);
    const loose = { kind: 'sysctl', on: 'netfilter/nf_conntrack_tcp_loose' } as const;
    const again = steps(SHARED, {
      journal: [{ ...loose, value: '0', earlier: '1' }],
      sysctls: { [loose.on]: '0' },
      interfaces: { eth0: { index: 2, mac: '', addresses: ['192.0.2.10'], macs: [MAC] } },
    });
    assert.deepEqual(journal(again), [
      'sysctl netfilter/nf_conntrack_tcp_loose 0 1',
      'address eth0 2001:db8::10/64',
    ]);
  });

  it('take away first what is no longer wanted', () => {
    const earlier: Change[] = [{ kind: 'address', on: 'eth0', value: '192.0.2.9/24' }];
    const interfaces = { eth0: { index: 2, mac: '', addresses: ['192.0.2.9'], macs: [] } };
    const [first, second] = lines(steps(SHARED, { journal: earlier, interfaces }));
    assert.deepEqual([first, second], ['ip address del 192.0.2.9/24 dev eth0', 'nft -f -']);
  });

  it('give an address its new prefix length', () => {
    const earlier: Change[] = [{ kind: 'address', on: 'eth0', value: '192.0.2.10/32' }];
    const interfaces = { eth0: { index: 2, mac: '', addresses: ['192.0.2.10'], macs: [MAC] } };
    const changed = steps(SHARED, { journal: earlier, interfaces });
    assert.equal(lines(changed)[0], 'ip address del 192.0.2.10/32 dev eth0');
    assert.ok(lines(changed).includes('ip address add 192.0.2.10/24 dev eth0'));
    assert.match(changed[1]!.input!, /undo continue comment "address eth0 192\.0\.2\.10\/24"/);
  });

  it('are undone in reverse, as far as they are still so', () => {
    const made: Change[] = [
      { kind: 'sysctl', on: 'ipv4/conf/eth0/promote_secondaries', value: '1', earlier: '0' },
      { kind: 'mac', on: 'eth0', value: MAC },
      { kind: 'address', on: 'eth0', value: '192.0.2.10/24' },
    ];
    const interfaces = { eth0: { index: 2, mac: '', addresses: ['192.0.2.10'], macs: [MAC] } };
    assert.deepEqual(lines(undoing(made, { ...FACTS, interfaces })), [
      'ip address del 192.0.2.10/24 dev eth0',
      `ip maddress del ${MAC} dev eth0`,
    ]);
  });
});

describe('changes to an interface that was renamed', () => {
  const made: Change[] = [
    { kind: 'sysctl', on: 'ipv4/conf/eth0/promote_secondaries', value: '1', earlier: '0' },
    { kind: 'mac', on: 'eth0', value: MAC },
    { kind: 'address', on: 'eth0', value: '192.0.2.10/24' },
  ];
  const renamed = { index: 2, mac: '', addresses: ['192.0.2.10'], macs: [MAC] };
  const undone = (facts: Partial<Facts>, journal = made): string[] =>
    lines(undoing(journal, { ...FACTS, ...facts }));
  const ON_ETH9 = ['ip address del 192.0.2.10/24 dev eth9', `ip maddress del ${MAC} dev eth9`];

  it('are undone where they are now', () => {
    assert.deepEqual(undone({ interfaces: { eth9: renamed } }), ON_ETH9);
    const eth0 = { index: 3, mac: '', addresses: [], macs: [] };
    assert.deepEqual(undone({ interfaces: { eth0, eth9: renamed } }), ON_ETH9);
  });

  it('are known by the group', () => {
    const group: Change = { kind: 'group', on: 'eth0', value: '239.192.2.10' };
    const eth9 = { ...renamed, macs: [], addresses: [...renamed.addresses, group.value] };
    const found = undone({ interfaces: { eth9 } }, [group, made[2]!]);
    assert.deepEqual(found, [ON_ETH9[0], 'ip address del 239.192.2.10/32 dev eth9']);
  });

  it('are not taken from an interface without the MAC, nor from one of the same setup or of another', () => {
    assert.deepEqual(undone({ interfaces: { eth9: { ...renamed, macs: [] } } }), []);
    const second: Change = { kind: 'mac', on: 'eth9', value: MAC };
    const interfaces = { eth9: renamed };
    assert.deepEqual(undone({ interfaces }, [...made, second]), [ON_ETH9[1]]);
    assert.deepEqual(undone({ interfaces, others: [second, { ...made[2]!, on: 'eth9' }] }), []);
  });
});

describe('what another setup holds', () => {
  const theirs: Change[] = [
    { kind: 'sysctl', on: 'netfilter/nf_conntrack_tcp_loose', value: '0', earlier: '1' },
    { kind: 'mac', on: 'eth0', value: MAC },
    { kind: 'address', on: 'eth0', value: '192.0.2.10/32' },
  ];
  const made: Partial<Facts> = {
    interfaces: { eth0: { index: 2, mac: '', addresses: ['192.0.2.10'], macs: [MAC] } },
    sysctls: { 'netfilter/nf_conntrack_tcp_loose': '0' },
  };

  it('is held as that setup would take it back, and not done again', () => {
    const second = steps(SHARED, { ...made, others: theirs });
    assert.deepEqual(journal(second).slice(0, 3), theirs.map(asText));
    assert.deepEqual(lines(second), [
      'nft -f -',
      'ip address add 2001:db8::10/64 dev eth0 nodad preferred_lft 0',
    ]);
  });

  it('is left to it, and to the last that holds it', () => {
    const facts = { ...FACTS, ...made, journal: theirs };
    assert.deepEqual(undoing(theirs, { ...facts, others: theirs }), []);
    assert.deepEqual(lines(undoing(theirs, facts)), [
      'ip address del 192.0.2.10/32 dev eth0',
      `ip maddress del ${MAC} dev eth0`,
      'sysctl -w net/netfilter/nf_conntrack_tcp_loose=1',
    ]);
  });
});

describe('what is told', () => {
  const word16 = (mac: string): number[] =>
    [0, 6, 12].map((at) => parseInt(mac.slice(at, at + 5).replace(':', ''), 16));
  const sum = (words: readonly number[]): number => words.reduce((all, word) => all + word, 0);

  it('leaves the checksum right, whatever the two MACs', () => {
    for (const own of ['02:00:00:00:00:02', 'fe:ff:ff:ff:ff:ff', '00:00:00:00:00:00', MAC]) {
      for (const mac of [MAC, '01:00:5e:40:02:0a', 'ff:ff:ff:ff:ff:fe', '33:33:00:00:00:01']) {
        const other = compensation(0x8800, own, mac);
        assert.ok(Number.isInteger(other) && other >= 0 && other <= 0xffff);
        const before = sum([other, ...word16(own)]);
        const after = sum([0x8800, ...word16(mac)]);
        assert.ok((before - after) % 0xffff === 0, `${own} ${mac}`);
      }
    }
  });

  it('concerns every cluster address, on every interface with a MAC', () => {
    const input = steps(SHARED)[0]!.input!;
    assert.match(input, /@th,64,128 0x20010db8000000000000000000000010 @th,192,16 0x0201/);
    assert.match(input, /ip6 saddr 2001:db8::10 @th,192,16 0x0101 @th,208,48 0x020000000002 /);
    assert.match(input, /arp saddr ip \{ 192\.0\.2\.10 \} arp saddr ether set 03:00:c0:00:02:0a/);
    assert.doesNotMatch(steps({})[0]!.input!, /table arp|neighbours/);
  });
});

test('what is remembered is read again', () => {
  const change: Change = { kind: 'sysctl', on: 'a/b', value: '1', earlier: '0' };
  assert.deepEqual(fromText(asText(change)), change);
  assert.equal(fromText('hello'), undefined);
  const queues = [2, 5];
  assert.deepEqual(parseMarkers(['undo', 'queues-2-5', 'standing-abc']), {
    ...{ queues, standing: 'abc', run: undefined, connmark: undefined },
  });
  assert.deepEqual(parseMarkers(['queues-2-5', 'run-abc-1f']), {
    ...{ queues, standing: undefined, run: { digest: 'abc', id: '1f' }, connmark: undefined },
  });
  assert.deepEqual(parseMarkers(['connmark-3ff0000-abc']).connmark, {
    ...{ bits: 0x03ff_0000, told: 'abc' },
  });
  assert.equal(digest(options({})), digest(options({}, { localNode: 2 })));
  assert.notEqual(digest(options({})), digest(options({}, { action: 'mark' })));
  assert.notEqual(digest(options({})), digest(options({}, { policy: 'clusterip' })));
  const balanced = (queueCpuFanout: boolean): string =>
    digest(options({}, { rules: 'auto', queues: [0, 1], queueCpuFanout }));
  assert.notEqual(balanced(false), balanced(true));
  const hashing = (hashSeed: number, offload: Offload, helpers: boolean): string =>
    digest(options({}, { rules: 'auto', hashSeed, offload: [offload], helpers }));
  for (const offload of ['flows', 'sources'] as const)
    for (const helpers of [true, false])
      assert.notEqual(hashing(1, offload, helpers), hashing(2, offload, helpers));
  const ruled = (conntrack: 'queue' | 'netlink' | 'mark' | 'off'): string =>
    digest(options({}, { rules: 'nft', conntrack }));
  assert.equal(new Set([ruled('netlink'), ruled('mark'), ruled('off')]).size, 3);
  assert.equal(ruled('netlink'), ruled('queue'));
});

test('the packets that queues hold are counted', () => {
  assert.equal(heldPackets('    0  1234     3 2  65531  0  0 7 1\n    1  12  4 2 0 0 0 0 1\n'), 7);
  assert.equal(heldPackets(''), 0);
});

test('a plan is printed as a list and as a script', () => {
  const made = {
    name: 'q0',
    mechanism: { kind: 'nft' },
    netns: '/run/netns/a b',
    steps: steps(SHARED),
    warnings: [],
  } as const;
  const script = asScript(made);
  assert.match(script, /^#!\/bin\/sh\n(#.*\n)*set -eu\n/);
  assert.match(script, /revert --name q0 --netns '\/run\/netns\/a b'$/m);
  assert.match(
    script,
    /^nsenter --net='\/run\/netns\/a b' nft -f - <<'END'\nadd table(.*\n)+END\n/m,
  );
  assert.doesNotMatch(script, /drop_unicast/);
  const list = asList(made);
  assert.match(list, /^3\. set net\/ipv4\/conf\/eth0\/promote_secondaries to 1$|already so/m);
  assert.match(list, /^ {3}Undone by:$/m);
});
