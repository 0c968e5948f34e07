/* What doctor says of nft rules that let packets go no further before they are decided. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { chain, ofNft, rule } from './diagnosed.js';

const KEY = { payload: { protocol: 'th', field: 'dport' } };

describe('doctor', () => {
  for (const [name, statement, found] of [
    ['rejects by TCP', { reject: { type: 'tcp reset' } }, /every node answers them$/],
    ['rejects', { reject: null }, /every node answers them$/],
    ['looks up a verdict', { vmap: { key: KEY, data: '@m' } }, /takes verdicts from the map m, /],
  ] as const) {
    it(`warns of a rule that ${name} before the decision, not of one behind it`, () => {
      const [finding, ...more] = ofNft(chain('prerouting'), rule([statement]));
      assert.equal(finding?.check, 'nft rules');
      assert.match(finding.found, found);
      assert.deepEqual(more, []);
      assert.deepEqual(ofNft(chain('prerouting', { prio: 0 }), rule([statement])), []);
    });
  }

  it('warns of rules that drop ARP, but not of those of a setup', () => {
    const arp = (table: string, policy: string) =>
      [
        { chain: { ...chain('input', { policy }).chain!, family: 'arp', table } },
        { rule: { ...rule([{ drop: null }], 'c', table).rule!, family: 'arp' } },
      ] as const;
    const found = ofNft(...arp('filter', 'drop')).map((finding) => finding.found);
    assert.deepEqual(found, [
      "The policy of nft's arp filter c drops ARP, by which a cluster address is found",
      "A rule in nft's arp filter c drops ARP, by which a cluster address is found",
    ]);
    assert.deepEqual(ofNft(...arp('nfq-cluster-q0', 'accept')), []);
  });
});
