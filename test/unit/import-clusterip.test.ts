import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { importRules } from '../../src/import/index.js';
import { resolveOptions } from '../../src/options/resolve.js';
import { REFUSED, ruleOf, valuesOf } from '../support/clusterip-rules.js';
import { noted, one } from './imported.js';

describe('rules of CLUSTERIP', () => {
  it('becomes the policy of that name', () => {
    for (const localNode of [1, 2]) {
      const text = ruleOf(valuesOf('sourceip', 2, localNode));
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
    const bare = valuesOf('sourceip-sourceport-destport', 16, 3).replace(' --hash-init 1', '');
    const { hashMode, hashSeed, totalNodes } = one(ruleOf(bare));
    assert.deepEqual([hashMode, hashSeed, totalNodes], ['sourceip-sourceport-destport', 0, 16]);
  });

  it('a second rule uses the first one’s configuration', () => {
    const first = ruleOf(valuesOf('sourceip', 2, 1));
    const again = `${first}\n${ruleOf(valuesOf('sourceip', 4, 3))}`;
    assert.deepEqual(one(again)['totalNodes'], 2);
    assert.equal(noted(again, 'warning').filter((text) => text.includes('first one')).length, 1);
  });

  it('several addresses of one interface share alike', () => {
    const first = ruleOf(valuesOf('sourceip', 2, 1));
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
    const text = ruleOf(valuesOf('sourceip', 2, 3));
    assert.deepEqual(one(text)['ownership'], { nodes: [] });
    assert.match(noted(text, 'warning').join(), /owns nothing/);
    assert.deepEqual(one(ruleOf(valuesOf('sourceip', 0, 1)))['totalNodes'], 1);
  });

  for (const { rules, program, reason } of REFUSED) {
    it(`refuses: ${program ?? ''} ${rules.at(-1)!}`, () => {
      const text = rules.map((rule) => `${program ?? 'iptables'} ${rule}`).join('\n');
      const { configurations, notes } = importRules(text);
      assert.equal(configurations.length, rules.length - 1);
      const refusals = notes.filter(({ kind }) => kind === 'refused');
      assert.equal(refusals.length, 1);
      assert.match(refusals[0]!.text, reason);
    });
  }
});
