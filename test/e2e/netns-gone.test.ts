/* An engine finds its network namespace although its name is gone, as after "ip netns del", or another's by now. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, symlink } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { open } from '../../src/index.js';
import { stateOf } from '../support/state.js';
import { clusterOptions, wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

describe('an engine whose network namespace has lost its name', { skip }, () => {
  for (const [title, renamed] of [
    ['which leads nowhere', false],
    ['which is another’s', true],
  ] as const) {
    test(`gives up buckets and takes everything back, by a path ${title}`, async () => {
      await using at = await wire();
      await using other = await wire();
      const folder = await mkdtemp(path.join(os.tmpdir(), 'nfq-cluster-netns-'));
      const netns = path.join(folder, 'node');
      try {
        await symlink(at.node.path, netns);
        const before = [await stateOf(at.node), await stateOf(other.node)];
        const options = clusterOptions(at.node, { netns, offload: ['sources'] });
        const engine = await open(options);
        await rm(netns);
        if (renamed) await symlink(other.node.path, netns);
        await engine.own('-1');
        assert.deepEqual(engine.ownership.buckets, []);
        await engine.close();
        assert.deepEqual([await stateOf(at.node), await stateOf(other.node)], before);
      } finally {
        await rm(folder, { recursive: true });
      }
    });
  }
});
