import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { importRules } from '../../src/import/index.js';
import { resolveOptions } from '../../src/options.js';
import { noted, one } from './imported.js';

describe('rules of CLUSTERIP', () => {
  const clusterip = (values: string, more = '-d 10.31.3.236/32 -i lo'): string =>
    `-A INPUT ${more} -j CLUSTERIP ${values}`;
  const values = (mode: string, total: number | string, local: number | string): string =>
    `--new --hashmode ${mode} --clustermac 01:AA:7B:47:F7:D7 --total-nodes ${total} --local-node ${local} --hash-init 1`;

  it('becomes the policy of that name', () => {
    for (const localNode of [1, 2]) {
      const text = clusterip(values('sourceip', 2, localNode));
      assert.deepEqual(one(text), {
        policy: 'clusterip',
        hashMode: 'sourceip',
        interfaces: [{ name: 'lo', addresses: ['10.31.3.236/32'], mac: '01:aa:7b:47:f7:d7' }],
        totalNodes: 2,
        localNode,
        hashSeed: 1,
        action: 'drop',
      });
      assert.deepEqual([...noted(text, 'by hand'), ...noted(text, 'not carried')], []);
      assert.match(noted(text, 'warning')[0]!, /10\.31\.3\.236: .*\/32/);
      const { policy, owned, interfaces } = resolveOptions(one(text));
      assert.deepEqual([policy, owned], ['clusterip', [localNode - 1]]);
      assert.deepEqual(
        interfaces.map(({ destinations }) => destinations),
        ['addresses'],
      );
    }
    const bare = values('sourceip-sourceport-destport', 16, 3).replace(' --hash-init 1', '');
    const { hashMode, hashSeed, totalNodes } = one(clusterip(bare));
    assert.deepEqual([hashMode, hashSeed, totalNodes], ['sourceip-sourceport-destport', 0, 16]);
  });

  it('a second rule uses the first one’s configuration', () => {
    const first = clusterip(values('sourceip', 2, 1));
    const again = `${first}\n${clusterip('', '-p tcp -d 10.31.3.236 -i lo')}\n${clusterip(values('sourceip', 4, 3))}`;
    assert.deepEqual(one(again)['totalNodes'], 2);
    assert.equal(noted(again, 'warning').filter((text) => text.includes('first one')).length, 2);
    const other = `${first}\n${first.replace('01:AA', '03:AA')}`;
    assert.match(noted(other, 'refused')[0]!, /^2: .*exists already with the MAC 01:aa/);
    assert.equal(importRules(other).configurations.length, 1);
  });

  it('several addresses of one interface share alike', () => {
    const first = clusterip(values('sourceip', 2, 1));
    const second = first.replace('3.236', '3.237');
    assert.deepEqual(one(`${first}\n${second}`)['interfaces'], [
      { name: 'lo', addresses: ['10.31.3.236/32', '10.31.3.237/32'], mac: '01:aa:7b:47:f7:d7' },
    ]);
    const others: [string, string][] = [
      ['--local-node 1', '--local-node 2'],
      ['01:AA', '3:AA'],
      ['sourceip', 'sourceip-sourceport'],
    ];
    for (const [part, other] of others) {
      const text = `${first}\n${second.replace(part, other)}`;
      assert.match(noted(text, 'refused')[0]!, /^2: .*share alike/);
      assert.equal(importRules(text).configurations.length, 1);
    }
    const elsewhere = second.replace('-i lo', '-i eth1').replace('01:AA', '3:AA');
    const [, entry] = one(`${first}\n${elsewhere}`)['interfaces'] as unknown[];
    assert.deepEqual(entry, {
      name: 'eth1',
      addresses: ['10.31.3.237/32'],
      mac: '03:aa:7b:47:f7:d7',
    });
  });

  it('a local node above the total owns nothing, as there', () => {
    const text = clusterip(values('sourceip', 2, 3));
    assert.deepEqual(one(text)['ownership'], { nodes: [] });
    assert.match(noted(text, 'warning').join(), /owns nothing/);
    assert.deepEqual(one(clusterip(values('sourceip', 0, 1)))['totalNodes'], 1);
  });

  const REFUSED: [string, RegExp][] = [
    [clusterip(values('sourceip', 2, 0)), /local node 0/],
    [clusterip(values('destip', 2, 1)), /Unknown hashmode/],
    [clusterip(values('sourceip', 17, 1)), /out of range/],
    [clusterip(values('sourceip', 2, 17)), /out of range/],
    [clusterip(values('sourceip', 2, 1).replace('01:AA', '02:AA')), /multicast/],
    [clusterip(values('sourceip', 2, 1).replace('01:AA', 'AA')), /invalid MAC/],
    [clusterip(values('sourceip', 2, 1).replace('--new ', '')), /combination/],
    [clusterip('--new'), /combination/],
    [clusterip(''), /need 'new'/],
    [clusterip(values('sourceip', 2, 1), '-i lo'), /one address/],
    [clusterip(values('sourceip', 2, 1), '-d 10.31.3.0/24 -i lo'), /one address/],
    [clusterip(values('sourceip', 2, 1), '-d 224.1.1.1 -i lo'), /no unicast address/],
    [clusterip(values('sourceip', 2, 1).replace(/01:\S+/, 'ff:ff:ff:ff:ff:ff')), /broadcast MAC/],
    [clusterip(values('sourceip', 2, 1), '! -d 10.31.3.236 -i lo'), /one address/],
    [clusterip(values('sourceip', 2, 1), '-d 10.31.3.236'), /interface/],
    [clusterip(`${values('sourceip', 2, 1)} --hash-init 2`), /only be used once/],
    [`ip6tables ${clusterip(values('sourceip', 2, 1))}`, /IPv4 alone/],
  ];
  for (const [text, reason] of REFUSED) {
    it(`refuses: ${text}`, () => {
      const { configurations, notes } = importRules(text);
      assert.deepEqual(configurations, []);
      assert.match(notes.find(({ kind }) => kind === 'refused')!.text, reason);
    });
  }
});
