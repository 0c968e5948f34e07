import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { importRules } from '../../src/import/index.js';
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
        interfaces: ['lo'],
        totalNodes: 2,
        localNode,
        hashSeed: 1,
        action: 'drop',
      });
      assert.match(noted(text, 'by hand')[0]!, /ip maddress add 01:aa:7b:47:f7:d7 dev lo/);
      assert.match(noted(text, 'by hand')[1]!, /arp saddr ip 10\.31\.3\.236 arp saddr ether set/);
      assert.match(noted(text, 'not carried')[0]!, /10\.31\.3\.236/);
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
