import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Options, ResolvedOptions } from '../../src/options/types.js';
import { resolveOptions } from '../../src/options/resolve.js';
import { marginOf, ownedLines } from '../../src/setup/owned.js';
import { nftTable, type Mechanism, type Phase } from '../../src/setup/ruleset.js';

const options = (more: Partial<Options> = {}): ResolvedOptions =>
  resolveOptions({
    interfaces: ['eth1'],
    hashSeed: 1,
    totalNodes: 2,
    localNode: 1,
    rules: 'auto',
    offload: ['flows'],
    ...more,
  });

const rulesOf = (text: string, chain: string): string[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('add rule ') && line.split(' ')[4] === chain)
    .map((line) => line.split(' ').slice(5).join(' '));

const OWNED = 'ct mark & 0x3ff0000 @owned-marks counter name offloaded-owned';
const ENDING = 'ct mark & 0x3ff0000 @ending-marks counter name offloaded-owned';
const FIXED = 'meta pkttype multicast jump for-host';
const FOREIGN = 'counter name offloaded-foreign';

describe('the rules of offload', () => {
  test('decide new connections by their source, and known ones by their bucket, ahead of all else', () => {
    const text = nftTable(options({ offload: ['sources'] }), 'nft', 'queue');
    const rules = rulesOf(text, 'before-queue');
    const bucket = 'mod 2 seed 0x1 offset 1 << 16 goto known';
    const foreign = `mod 2 seed 0x1 @foreign-buckets ${FOREIGN} drop`;
    assert.deepEqual(rules.slice(0, 8), [
      'iifname != "eth1" return',
      `ip protocol != igmp ct state new jhash ip saddr ${foreign}`,
      `ct state new jhash ip6 saddr ${foreign}`,
      FIXED,
      `${ENDING} return`,
      `ip protocol != igmp ct state new ct mark 0 ct mark set jhash ip saddr ${bucket}`,
      `ct state new ct mark 0 ct mark set jhash ip6 saddr ${bucket}`,
      'ct mark & 0x3ff0000 != 0 goto known',
    ]);
    assert.equal(rules.at(-1), 'queue num 0');
    assert.deepEqual(rulesOf(text, 'known'), [
      `${OWNED} meta mark set meta mark & 0x1c00ffff return`,
      `${ENDING} meta mark set meta mark & 0x1c00ffff return`,
      `${FOREIGN} drop`,
    ]);
    assert.doesNotMatch(nftTable(options(), 'nft', 'queue'), /before-queue .*jhash/);
  });

  test('hash as the policy does, into the bits of the mark', () => {
    const given = resolveOptions({
      interfaces: ['eth1'],
      hashSeed: 1,
      buckets: 7,
      ownership: { buckets: [0] },
      policy: 'xt_cluster',
      rules: 'auto',
      offload: ['sources'],
      marks: { bucket: 0xe, owned: { value: 1, mask: 1 } },
    });
    const rules = rulesOf(nftTable(given, 'nft', 'queue'), 'before-queue');
    assert.equal(
      rules[6],
      'meta nfproto ipv6 ct state new ct mark 0 ct mark set jhash @nh,64,32 mod 7 seed 0x1 offset 1 << 1 goto known',
    );
  });

  test('give connections their bucket, ahead of the queue and where they leave, where connmarks keep it', () => {
    const of = (more: Partial<Options>, phase: Phase = 'queue', chain = 'bucket') =>
      rulesOf(nftTable(options({ interfaces: ['a', 'b'], ...more }), 'nft', phase), chain);
    const direct = 'ct direction original ct state new,established ct status & expected == 0';
    const bucket = 'mod 2 seed 0x1 offset 1 << 16';
    const all = [
      `ip protocol != igmp ct mark 0 ct mark set jhash ip saddr ${bucket} return`,
      `ct mark 0 ct mark set jhash ip6 saddr ${bucket} return`,
      ...[
        'ip protocol != igmp ct status & confirmed == 0 jhash ip saddr',
        'ct status & confirmed == 0 jhash ip6 saddr',
      ].flatMap((hash) =>
        [1, 2].map(
          (bit) =>
            `${hash} mod 2 seed 0x1 offset 1 & 0x${bit} == 0x${bit} ct mark set ct mark | 0x${bit}0000`,
        ),
      ),
    ];
    for (const more of [
      {},
      { offload: ['sources'] },
      { offload: [], conntrack: 'mark' },
    ] as const) {
      assert.deepEqual(of(more), all);
      assert.deepEqual(of(more, 'closed'), all);
      assert.deepEqual(of({ ...more, helpers: false }), all);
      for (const phase of ['queue', 'closed'] as const)
        assert.deepEqual(of(more, phase, 'leaving'), [
          'ct mark & 0x3ff0000 != 0 return',
          'oifname != { "a", "b" } return',
          `${direct} jump bucket`,
        ]);
      const before = of(more, 'queue', 'before-queue');
      const told = before.indexOf(`${direct} meta mark set meta mark | 0x20000000`);
      assert.equal(
        before[told + 1],
        'meta mark & 0x20000000 == 0x20000000 ct mark & 0x3ff0000 == 0 jump bucket',
      );
      assert.equal(before[told - 1], 'meta mark set meta mark & 0x5c00ffff');
    }
    assert.deepEqual(of({ offload: [], conntrack: 'netlink' }), []);
    assert.deepEqual(of({ offload: ['sources'], conntrack: 'off' }), []);
  });

  test('mark what is owned, and tell xtables not to queue it', () => {
    const given = { action: 'mark', marks: { owned: { value: 1, mask: 1 } } } as const;
    assert.deepEqual(rulesOf(nftTable(options(given), 'xtables', 'queue'), 'known'), [
      ...[OWNED, ENDING].map(
        (rule) => `${rule} meta mark set meta mark & 0x1c00fffe | 0x80000001 return`,
      ),
      `${FOREIGN} meta mark set meta mark & 0x1c00fffe | 0x80000000 return`,
    ]);
  });

  test('pass what is owned before they ask for a name, unless they write its mark', () => {
    const first = (more: Partial<Options>, kind: Mechanism['kind'], phase: Phase = 'queue') =>
      rulesOf(
        nftTable(options(more), kind, phase, { indexes: [3, 7] }),
        `before-${kind === 'nft' ? 'queue' : 'mangle'}`,
      ).slice(0, 7);
    const names = 'iifname != "eth1" return';
    assert.deepEqual(first({}, 'nft'), [
      ...[3, 7].flatMap((index) => [
        `iif ${index} ${FIXED}`,
        ...[OWNED, ENDING].map((rule) => `iif ${index} ${rule} return`),
      ]),
      names,
    ]);
    const named = (mark: string) => [
      names,
      FIXED,
      ...[OWNED, ENDING].map((rule) => `${rule} meta mark set meta mark & ${mark} return`),
    ];
    assert.deepEqual(first({}, 'xtables').slice(0, 4), named('0x1c00ffff | 0x80000000'));
    assert.deepEqual(first({ action: 'mark' }, 'nft').slice(0, 4), named('0x1c000000 | 0xffff'));
    assert.equal(first({}, 'nft', 'closed')[0], names);
    assert.doesNotMatch(first({}, 'nft', 'closed').join(), /@/);
    assert.doesNotMatch(first({ offload: [] }, 'nft').join(), /@/);
  });

  test('drop what is foreign and new right behind the name, unless that is nobody’s to drop, or passes', () => {
    const rules = (more: Partial<Options> = {}, kind: Mechanism['kind'] = 'nft') =>
      rulesOf(
        nftTable(options({ offload: ['sources'], ...more }), kind, 'queue', { indexes: [3] }),
        `before-${kind === 'nft' ? 'queue' : 'mangle'}`,
      );
    const foreign = `mod 2 seed 0x1 @foreign-buckets ${FOREIGN} drop`;
    const both = [
      `ip protocol != igmp ct state new jhash ip saddr ${foreign}`,
      `ct state new jhash ip6 saddr ${foreign}`,
    ];
    const names = 'iifname != "eth1" return';
    assert.deepEqual(rules().slice(0, 7), [
      `iif 3 ${FIXED}`,
      `iif 3 ${OWNED} return`,
      names,
      ...both,
      FIXED,
      `${ENDING} return`,
    ]);
    const xtables = rules({}, 'xtables');
    assert.deepEqual(xtables.slice(0, 2).concat(xtables.slice(3, 5)), [names, FIXED, ...both]);
    const shared = {
      addresses: ['10.0.0.9/24'],
      mac: '01:00:5e:00:00:09',
      destinations: 'addresses',
    } as const;
    for (const more of [
      { action: 'mark' },
      { offload: ['flows'] },
      { interfaces: [{ name: 'eth1', ...shared }] },
    ] as const)
      assert.doesNotMatch(rules(more).join(), /@foreign-buckets/);
  });

  test('are none without it, also where connmarks keep buckets', () => {
    const text = nftTable(options({ offload: [], conntrack: 'mark' }), 'nft', 'queue', {
      indexes: [3],
    });
    assert.doesNotMatch(text, /@|goto|iif 3|add set/);
  });

  test('are none while closed', () => {
    for (const kind of ['nft', 'xtables'] as const) {
      const text = nftTable(options({ offload: ['sources'] }), kind, 'closed');
      assert.doesNotMatch(text, /before-\w+ .*(goto|@|jhash)/);
    }
  });

  test('note for the engine what it counts, and nothing in what the kernel decides', () => {
    const note = (more: Partial<Options>): string =>
      rulesOf(nftTable(options(more), 'nft', 'queue'), 'for-host').at(-1)!;
    const noted = 'meta mark set meta mark | 0x40000000';
    assert.equal(note({}), `meta pkttype host ct mark & 0x3ff0000 == 0 ${noted}`);
    assert.equal(note({ offload: [] }), `meta pkttype host ${noted}`);
    assert.equal(
      note({ offload: ['sources'], conntrack: 'off' }),
      'ip6 daddr != ff00::/8 meta pkttype set host',
    );
  });

  test('decide by addresses alone where no connection is followed, behind what is nobody’s to drop', () => {
    const given = { offload: ['sources'], conntrack: 'off' } as const;
    const text = nftTable(options(given), 'nft', 'queue', { indexes: [3] });
    assert.doesNotMatch(text, /\bct\b/);
    const before = rulesOf(text, 'before-queue');
    const igmp = before.findIndex((rule) => rule.includes('igmp'));
    const owned = 'mod 2 seed 0x1 @owned-buckets counter name offloaded-owned return';
    assert.deepEqual(before.slice(igmp + 1), [
      `jhash ip saddr ${owned}`,
      `jhash ip6 saddr ${owned}`,
      `${FOREIGN} drop`,
    ]);
    assert.doesNotMatch(text, /known|-marks/);
  });

  test('take each side of a stateless gateway by its own key', () => {
    const interfaces = ['eth1', { name: 'eth2', key: 'destination' }] as const;
    const text = nftTable(options({ offload: ['sources'], interfaces }), 'nft', 'queue');
    const rules = rulesOf(text, 'before-queue').filter((rule) => rule.includes('jhash'));
    assert.deepEqual(
      rules.map((rule) => rule.split(' mod ')[0]),
      [
        'iifname "eth1" jhash ip saddr',
        'iifname "eth1" jhash ip6 saddr',
        'iifname "eth2" jhash ip daddr',
        'iifname "eth2" jhash ip6 daddr',
      ],
    );
  });

  test('leave what is owned alone unless it is to end', () => {
    assert.doesNotMatch(nftTable(options(), 'nft', 'queue'), /^(flush set|add element)/m);
    const emptied = nftTable(options(), 'nft', 'queue', { owningNothing: true });
    assert.deepEqual(emptied.match(/^(flush set|add element) .*$/gm), [
      'flush set inet nfq-cluster-q0 owned-marks',
      'flush set inet nfq-cluster-q0 ending-marks',
    ]);
  });
});

describe('the sets of what is owned', () => {
  const lines = (more: Partial<Options>, owned: readonly number[], timeout: number): string[] =>
    ownedLines(options({ totalNodes: 3, ...more }), 'inet t', owned, timeout);
  const flows = (owned: readonly number[], timeout: number): string[] => lines({}, owned, timeout);
  const [lasting, ending, foreign] = ['owned-marks', 'ending-marks', 'foreign-buckets'].map(
    (set) => `flush set inet t ${set}`,
  );

  test('keep what ends apart, in whole milliseconds', () => {
    assert.deepEqual(flows([0, 1], Infinity), [
      lasting,
      'add element inet t owned-marks { 0x10000, 0x20000 }',
      ending,
    ]);
    assert.deepEqual(flows([0, 1], 99.9), [
      lasting,
      ending,
      'add element inet t ending-marks { 0x10000 timeout 99ms, 0x20000 timeout 99ms }',
    ]);
    assert.equal(
      flows([0], 86_400_000 * 36_500 + 5.5)[2],
      'add element inet t ending-marks { 0x10000 timeout 36500d5ms }',
    );
    const bits = { marks: { bucket: 0x300000 } };
    assert.equal(lines(bits, [0], Infinity)[1], 'add element inet t owned-marks { 0x100000 }');
  });

  test('are empty where nothing is owned, or less than a jiffy may be left', () => {
    assert.deepEqual(flows([], Infinity), [lasting, ending]);
    assert.deepEqual(flows([0], 9.9), [lasting, ending]);
    assert.match(flows([0], 10)[2]!, /timeout 10ms/);
    assert.deepEqual(flows([0], -5), [lasting, ending]);
  });

  test('have all other buckets as foreign, whether the ownership ends or not', () => {
    const sources = { offload: ['sources'] } as const;
    for (const timeout of [Infinity, 1000])
      assert.deepEqual(lines(sources, [1], timeout).slice(-2), [
        foreign,
        'add element inet t foreign-buckets { 0, 2 }',
      ]);
    assert.equal(lines(sources, [0, 1, 2], Infinity).at(-1), foreign);
    assert.equal(lines({ ...sources, action: 'mark' }, [1], Infinity).at(-1), ending);
  });

  test('are one of owned buckets where no connection is followed', () => {
    const stateless = { offload: ['sources'], conntrack: 'off' } as const;
    assert.deepEqual(lines(stateless, [0, 1], 1000), [
      'flush set inet t owned-buckets',
      'add element inet t owned-buckets { 0 timeout 1000ms, 1 timeout 1000ms }',
    ]);
    assert.equal(lines(stateless, [1], Infinity)[1], 'add element inet t owned-buckets { 1 }');
  });

  test('ends before the ownership', () => {
    assert.equal(marginOf(10_000), 100);
    assert.equal(marginOf(100), 25);
    assert.equal(marginOf(0), 0);
  });
});
