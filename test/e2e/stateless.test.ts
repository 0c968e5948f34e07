/* A gateway without connection tracking: the source outside and the destination inside are one key. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import path from 'node:path';
import { describe, test } from 'node:test';
import { Hasher, open, type Engine } from '../../src/index.js';
import { gateway, SERVER, source, type Gateway } from '../support/gateway.js';
import { root } from '../support/processes.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const PROGRAM = path.join(root, 'test/support/exchange.mjs');
const PORT = '7007';
const SHARE = { totalNodes: 2, hashSeed: 3 } as const;
const hasher = new Hasher(SHARE);

const node = (at: Gateway, localNode: number): Promise<Engine> =>
  open({
    ...SHARE,
    localNode,
    interfaces: [
      { name: 'outside', key: 'source' },
      { name: 'inside', key: 'destination' },
    ],
    netns: at.gateway.path,
    rules: 'auto',
    control: 'none',
  });

describe('a stateless gateway', { skip }, () => {
  for (const localNode of [1, 2]) {
    test(`node ${localNode} has both directions of its clients' flows, large datagrams included, and no other`, async () => {
      await using lab = await gateway();
      await using engine = await node(lab, localNode);
      assert.equal(engine.conntrack.source, 'off');
      for (const family of [4, 6] as const) {
        const all = Array.from({ length: 30 }, (_, index) => source(family, index));
        const own = all.filter((address) => hasher.node(address) === localNode);
        const others = all.filter((address) => hasher.node(address) !== localNode);
        assert.ok(own.length > 0 && others.length > 0);
        const server = lab.server.spawn(
          process.execPath,
          [PROGRAM, 'server', SERVER[family], PORT],
          { stdio: ['ignore', 'pipe', 'inherit'] },
        );
        await once(server.stdout!, 'data');
        const before = engine.stats();
        const ask = (how: string, bytes: string, sources: string[]): Promise<string> =>
          lab.client.run(process.execPath, [PROGRAM, how, SERVER[family], PORT, bytes, ...sources]);
        await ask('tcp', '50000', own);
        await ask('udp', '4000', own);
        assert.equal(engine.stats().foreign, before.foreign, 'a packet of its own was foreign');
        const now = engine.stats();
        await assert.rejects(ask('stray', '4000', others), /nobody answered/);
        assert.equal(engine.stats().owned, now.owned, "a packet of another node's was owned");
        assert.ok(
          engine.stats().foreign >= now.foreign + 3 * others.length,
          'not all fragments came',
        );
      }
      const tracked = await lab.gateway.run('cat', ['/proc/sys/net/netfilter/nf_conntrack_count']);
      assert.equal(Number(tracked), 0, 'the kernel tracked connections');
    });
  }
});
