/* Rules that change under traffic: every packet sent is received. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { apply, open, revert } from '../../src/index.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { waitFor } from '../support/processes.js';
import { counter } from '../support/state.js';
import { CLUSTER, clusterOptions, SENDER, wire, type Wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const PORT = 4000;
const FRAMES = 10_000;

const COUNTER = `table inet seen {
  counter arrived { }
  counter accepted { }
  chain arriving {
    type filter hook prerouting priority -310
    udp dport ${PORT} counter name arrived
  }
  chain input {
    type filter hook input priority 0
    udp dport ${PORT} counter name accepted
  }
}`;

const counted = ({ node }: Wire, name: string): Promise<number> => counter(node, 'seen', name);

const frames = [SENDER.ipv4, SENDER.ipv6].flatMap((src) => {
  const dst = src.includes(':') ? CLUSTER.ipv6 : CLUSTER.ipv4;
  return Array.from({ length: FRAMES / 2 }, (_, flow) =>
    udp({ src, dst, sport: 1024 + flow, dport: PORT, ethDst: CLUSTER.mac }),
  );
});

test(
  'a setup that is applied again, and changed, under traffic loses nothing',
  { skip },
  async () => {
    await using at = await wire();
    await at.node.run('nft', ['-f', '-'], COUNTER);
    const whole = { totalNodes: 1 };
    await apply(clusterOptions(at.node, whole));
    await using engine = await open(clusterOptions(at.node, whole));
    const ended = new AbortController();
    const sent = inject(at.sender, 'eth0', frames, { rate: 1000 }).finally(() => ended.abort());
    await waitFor('packets arrive', async () => (await counted(at, 'accepted')) > 0);
    const [entry] = clusterOptions(at.node).interfaces;
    const more = ['10.1.0.11/24', '10.1.0.12/24', 'fd01::11/64'];
    let changes = 0;
    for (const addresses of [more.slice(0, 1), more, more.slice(1), []]) {
      await apply(clusterOptions(at.node, whole), { replace: true });
      const interfaces = [
        {
          ...(entry as object),
          name: 'eth0',
          addresses: [...addresses, `${CLUSTER.ipv4}/24`, `${CLUSTER.ipv6}/64`],
        },
      ];
      await apply(clusterOptions(at.node, { ...whole, interfaces }), { replace: true });
      if (!ended.signal.aborted) changes++;
    }
    await sent;
    assert.ok(changes > 0, 'changed under traffic');
    await waitFor('all are decided', () => engine.stats().received >= FRAMES);
    await waitFor('all have arrived', async () => (await counted(at, 'arrived')) === FRAMES);
    await waitFor('all are accepted', async () => (await counted(at, 'accepted')) === FRAMES);
    const { queueDropped, userDropped } = engine.stats();
    assert.deepEqual({ queueDropped, userDropped }, { queueDropped: 0, userDropped: 0 });
    await revert({ netns: at.node.path });
  },
);
