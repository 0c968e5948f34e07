/* What the addon refuses to set as the rule that queues. */
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { describe, test } from 'node:test';
import { native } from '../../src/native.js';
import { skip } from './lab.js';

const { EINVAL, ENAMETOOLONG, ENOENT } = constants.errno;

describe('setQueueRule()', { skip }, () => {
  const refused = (
    errno: number,
    ...[table, chain, first, queues, cpuFanout = false]: [string, string, number, number, boolean?]
  ) => assert.rejects(native.setQueueRule('', table, chain, first, queues, cpuFanout), { errno });

  test('refuses a chain that does not exist', () => refused(ENOENT, 'none-such', 'c', 0, 1));

  test('refuses names that nft has no room for', async () => {
    await refused(ENAMETOOLONG, 'x'.repeat(256), 'c', 0, 1);
    await refused(ENAMETOOLONG, 'none-such', 'x'.repeat(100_000), 0, 1);
    await refused(ENOENT, 'x'.repeat(255), 'x'.repeat(255), 0, 1);
  });

  test('refuses queues that are none', async () => {
    await refused(EINVAL, 'none-such', 'c', 65_536, 1);
    await refused(EINVAL, 'none-such', 'c', 65_535, 2);
    await refused(EINVAL, 'none-such', 'c', 0, 0);
    await refused(ENOENT, 'none-such', 'c', 65_535, 1);
  });

  test('refuses to spread over one queue by processors', async () => {
    await refused(EINVAL, 'none-such', 'c', 0, 1, true);
    await refused(ENOENT, 'none-such', 'c', 0, 2, true);
  });

  test('takes nothing but texts, numbers and a boolean', () => {
    const { setQueueRule } = native as unknown as Record<string, (...given: unknown[]) => unknown>;
    const good = ['', 't', 'c', 0, 1, false];
    for (let at = 0; at < good.length; at += 1) {
      const wrong = good.with(at, typeof good[at] === 'number' ? '0' : 1);
      for (const given of [good.slice(0, at), wrong])
        assert.throws(() => setQueueRule!(...given), TypeError);
    }
  });
});
