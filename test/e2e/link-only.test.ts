/*
 * Every node answers for itself what is for its link alone. What only looks like that, but is on its way through a
 * gateway, must not be forwarded by every node.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { open, type Options } from '../../src/index.js';
import type { Namespace } from '../../src/lab/namespaces.js';
import { inject } from '../support/inject.js';
import { bytes, icmp, ip, type Ends } from '../support/packets.js';
import { waitFor } from '../support/processes.js';
import { counter } from '../support/state.js';
import { NODE, owningAll, SENDER, wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

/** Of ICMPv6, neighbour discovery and multicast listener discovery. */
const NEIGHBOURS = [133, 134, 135, 136, 137];
const LISTENERS = [130, 131, 132, 143];
const BEHIND = { 4: '10.7.0.1', 6: 'fd07::1' };

/** But not of what the sender's kernel reports when its interface has come up. */
const COUNTERS = `table inet seen {
  counter arrived { }
  counter passed { }
  chain first { type filter hook prerouting priority -310; iifname "eth0" ip6 saddr :: return; iifname "eth0" counter name arrived; }
  chain last { type filter hook prerouting priority 10; iifname "eth0" ip6 saddr :: return; iifname "eth0" counter name passed; }
}`;

const discovery = (ends: Ends, type: number): Buffer =>
  icmp(
    { ...ends, src: SENDER.ipv6 },
    { 4: [8, 0], 6: [type, 0] },
    Buffer.concat([Buffer.alloc(4), bytes(NODE.ipv6)]),
  );
const igmp = (dst: string, ttl: number): Buffer =>
  ip({ src: SENDER.ipv4, dst, ttl }, 2, Buffer.from([0x11, 0, 0xee, 0xff, 0, 0, 0, 0]));

const OF_THE_LINK = [
  igmp('224.0.0.1', 1),
  ...[NODE.ipv6, 'ff02::1'].flatMap((dst) => [
    ...NEIGHBOURS.map((type) => discovery({ src: '', dst, ttl: 255 }, type)),
    ...LISTENERS.map((type) => discovery({ src: '', dst, ttl: 1 }, type)),
  ]),
];
const THROUGH = [
  ...[BEHIND[4], NODE.ipv4].map((dst) => igmp(dst, 64)),
  ...[...NEIGHBOURS, ...LISTENERS].map((type) => discovery({ src: '', dst: BEHIND[6] }, type)),
];
/** For an address behind as well, but from a neighbour: docs/decision.md. */
const FROM_NEAR = NEIGHBOURS.map((type) => discovery({ src: '', dst: BEHIND[6], ttl: 255 }, type));

const WAYS: Partial<Options>[] = [
  {},
  { conntrack: 'off' },
  { offload: ['flows', 'sources'] },
  { conntrack: 'off', offload: ['sources'] },
];

async function send(node: Namespace, sender: Namespace, frames: readonly Buffer[]): Promise<void> {
  await node.run('nft', ['reset', 'counters', 'table', 'inet', 'seen']);
  await inject(sender, 'eth0', frames);
  const arrived = async (): Promise<boolean> =>
    (await counter(node, 'seen', 'arrived')) === frames.length;
  await waitFor('all to arrive', arrived);
}

describe('a node that owns nothing', { skip }, () => {
  for (const way of WAYS) {
    test(`passes what is for its link, and of what is on its way through only a neighbour’s, ${JSON.stringify(way)}`, async () => {
      await using at = await wire();
      await at.node.run('nft', ['-f', '-'], COUNTERS);
      const options = owningAll(at.node, { ...way, totalNodes: 2, ownership: { nodes: [] } });
      delete options.localNode;
      await using engine = await open(options);
      const passed = (): Promise<number> => counter(at.node, 'seen', 'passed');
      await send(at.node, at.sender, OF_THE_LINK);
      assert.equal(await passed(), OF_THE_LINK.length);
      assert.equal(engine.stats().received, 0);

      await send(at.node, at.sender, THROUGH);
      await waitFor('what is queued to be decided', () => {
        const { received, foreign } = engine.stats();
        return received === foreign;
      });
      assert.equal(await passed(), 0);

      await send(at.node, at.sender, FROM_NEAR);
      assert.equal(await passed(), FROM_NEAR.length);
    });
  }
});
