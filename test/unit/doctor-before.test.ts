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
});
