import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { NfqClusterError } from '../../src/errors.js';
import type { Engine } from '../../src/engine.js';
import type { Status } from '../../src/control/status.js';
import {
  exportRules,
  ofStatus,
  type Exportable,
  type ExportFormat,
} from '../../src/export/index.js';
import { resolveOptions } from '../../src/options/resolve.js';

const BASE: Exportable = resolveOptions({
  interfaces: ['eth1'],
  hashSeed: 0xfeedcafe,
  totalNodes: 2,
  localNode: 2,
});
const CLUSTERIP: Exportable = {
  ...BASE,
  policy: 'clusterip',
  hashMode: 'sourceip-sourceport',
  hashSeed: 0,
};
const ADDRESS = { address: '10.1.1.1' };

describe('export', () => {
  it('to iptables, as in the man page', () => {
    assert.equal(
      exportRules(BASE, 'iptables'),
      `# for iptables-restore --noflush; 1 of 2 nodes
*mangle
-A PREROUTING -i eth1 -j MARK --set-xmark 0x0/0xffff
-A PREROUTING -i eth1 -m cluster --cluster-total-nodes 2 --cluster-local-node 2 --cluster-hash-seed 0xfeedcafe -j MARK --set-xmark 0xffff/0xffff
-A PREROUTING -i eth1 -d 224.0.0.0/4 -p igmp -j MARK --set-xmark 0xffff/0xffff
-A PREROUTING -i eth1 -m mark ! --mark 0xffff/0xffff -j DROP
COMMIT
`,
    );
    const most = { ...BASE, buckets: 4, owned: [0, 1, 3] };
    assert.match(exportRules(most, 'iptables'), / ! --cluster-local-node 3 /);
    assert.match(exportRules({ ...BASE, buckets: 8, owned: [6] }, 'iptables'), /node 7 and above/);
  });

  it('to nft, with the offset and the spelling that can be listed', () => {
    const text = exportRules(BASE, 'nft');
    assert.match(text, /jhash ct original ip saddr mod 2 seed 0xfeedcafe offset 1 != \{ 2 \} drop/);
    assert.match(text, /jhash ct original ip6 saddr mod 2/);
  });

  it('to nft, of a stateless gateway, by headers alone', () => {
    const gateway = resolveOptions({
      interfaces: ['eth1', { name: 'eth2', key: 'destination' }],
      hashSeed: 1,
      totalNodes: 2,
      localNode: 2,
    });
    const text = exportRules(gateway, 'nft');
    assert.match(text, /iifname "eth1" meta nfproto ipv4 jhash ip saddr mod 2/);
    assert.match(text, /iifname "eth2" meta nfproto ipv6 jhash ip6 daddr mod 2/);
    assert.doesNotMatch(text, /\bct\b/);
    assert.equal(exportRules({ ...gateway, conntrack: 'auto' }, 'nft'), text);
  });

  it('to parameters of IPaddr2', () => {
    assert.equal(
      exportRules(CLUSTERIP, 'pacemaker', ADDRESS),
      `ip=10.1.1.1
nic=eth1
clusterip_hash=sourceip-sourceport
meta globally-unique=true
meta clone-max=2
meta clone-node-max=2
`,
    );
  });

  it('to parameters of IPaddr2, with what the interface shares', () => {
    const mac = '01:00:5e:00:00:20';
    const address = { address: '10.1.1.1', prefix: 24, family: 4 } as const;
    const shared: Exportable = {
      ...CLUSTERIP,
      interfaces: [{ name: 'eth1', key: 'source', addresses: [address], mac }],
    };
    const text = exportRules(shared, 'pacemaker');
    assert.match(text, /^ip=10\.1\.1\.1\ncidr_netmask=24\nnic=eth1\nmac=01:00:5e:00:00:20\n/);
    const other = exportRules(shared, 'pacemaker', { address: '10.1.1.2' });
    assert.match(other, /^ip=10\.1\.1\.2\nnic=eth1\n/);
  });

  it('of what an interface’s addresses narrow down, to no rules', () => {
    const narrow: Exportable = {
      ...BASE,
      interfaces: [{ name: 'eth1', key: 'source', destinations: 'addresses' }],
    };
    for (const to of ['iptables', 'nft'] as const) {
      assert.throws(() => exportRules(narrow, to), { code: 'ERR_NOT_EXPORTABLE' });
    }
  });

  const REFUSED: [ExportFormat, Partial<Exportable>, RegExp][] = [
    ['ip6tables', {}, /32 bits of an IPv6 address.*nft can/],
    ['iptables', { policy: 'clusterip' }, /cannot hash as policy clusterip/],
    ['iptables', { buckets: 33, classic: false }, /at most 32 nodes/],
    [
      'iptables',
      { interfaces: [{ name: 'eth1', key: 'destination' }] },
      /cannot hash the destination/,
    ],
    [
      'iptables',
      { interfaces: [{ name: 'a;b', key: 'source' }] },
      /a name that means something else/,
    ],
    [
      'iptables',
      { interfaces: [{ name: 'eth+', key: 'source' }] },
      /a name that means something else/,
    ],
    ['iptables', { validFor: 1000 }, /deadline/],
    ['iptables', { conntrack: 'off' }, /only by connections.*nft can/],
    ['ip6tables', { conntrack: 'off', policy: 'xt_cluster' }, /only by connections/],
    ['nft', { policy: 'xt_cluster' }, /first 32 bits.*--ipv4/],
    ['nft', { policy: 'clusterip' }, /cannot hash as policy clusterip/],
    ['nft', { interfaces: [{ name: 'a*', key: 'source' }] }, /a name that means something else/],
    ['nft', { validFor: 1000 }, /deadline/],
    ['pacemaker', {}, /does not hash as policy jhash/],
  ];
  const REFUSED_PACEMAKER: [Partial<Exportable>, RegExp][] = [
    [{ hashSeed: 1 }, /seed 0/],
    [{ buckets: 17 }, /at most 16 nodes/],
    [{ classic: false }, /fine-grained/],
    [{ interfaces: [...BASE.interfaces, ...BASE.interfaces] }, /one interface/],
    [{ action: 'mark' }, /no marks/],
    [{ validFor: 1 }, /deadline/],
  ];
  const refuses = (from: Exportable | Engine, to: ExportFormat, reason: RegExp, flags = {}): void =>
    assert.throws(
      () => exportRules(from, to, flags),
      (error) =>
        error instanceof NfqClusterError &&
        error.code === 'ERR_NOT_EXPORTABLE' &&
        reason.test(error.message),
    );

  it('is refused, with the reason, where the other cannot say it', () => {
    for (const [to, changes, reason] of REFUSED) refuses({ ...BASE, ...changes }, to, reason);
    for (const [changes, reason] of REFUSED_PACEMAKER) {
      refuses({ ...CLUSTERIP, ...changes }, 'pacemaker', reason, ADDRESS);
    }
    refuses(CLUSTERIP, 'pacemaker', /--address/);
    refuses(CLUSTERIP, 'pacemaker', /IPv4/, { address: '::1' });
    assert.throws(() => exportRules(BASE, 'ipfw' as ExportFormat), /Expected one of iptables/);
  });

  it('is of what an engine owns now', () => {
    const ownership = { buckets: [0], validFor: Infinity };
    const engine = {
      options: BASE,
      ownership,
      conntrack: { source: 'netlink' },
    } as unknown as Engine;
    assert.equal(exportRules(engine, 'nft'), exportRules({ ...BASE, owned: [0] }, 'nft'));
    assert.notEqual(exportRules(engine, 'nft'), exportRules(BASE, 'nft'));
    const over = Object.assign({}, engine, { ownership: { ...ownership, validFor: 0 } });
    refuses(over, 'nft', /deadline/);
  });

  it('is of what an engine or its status says, by flags that are known', () => {
    const wrong: [unknown, object | null, RegExp][] = [
      [
        { interfaces: ['eth0'], hashSeed: 0, totalNodes: 2, localNode: 1 },
        {},
        /ofStatus\(\) gives for from .*\. It has no policy\.$/,
      ],
      [{ owned: [0] }, {}, /for from but received \{"owned":\[0\]\}\. It has no policy\.$/],
      [
        { ...BASE, owned: 0 },
        {},
        /a list of different integers .* for from\.owned but received 0$/,
      ],
      [{ ...BASE, interfaces: [{}] }, {}, /It has no interfaces\.0\.name\.$/],
      [null, {}, /for from but received null/],
      [BASE, { ipV4: true }, /Unknown option ipV4\. Did you mean ipv4\?/],
      [BASE, { ipv4: 'no' }, /true or false for ipv4 but received "no"/],
      [BASE, null, /for the flags but received null/],
    ];
    for (const [from, flags, message] of wrong) {
      const refused = { code: 'ERR_INVALID_OPTION', message };
      assert.throws(() => exportRules(from as Exportable, 'nft', flags as object), refused);
    }
    for (const status of [null, {}, { ownedBuckets: [0] }]) {
      const refused = {
        code: 'ERR_INVALID_OPTION',
        message: /Control\.status\(\) gives for status/,
      };
      assert.throws(() => ofStatus(status as unknown as Status), refused);
    }
  });
});
