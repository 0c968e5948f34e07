/* Rules that change under traffic: every packet sent is received. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { apply, open, revert, type Options } from '../../src/index.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { waitFor } from '../support/processes.js';
import { counter } from '../support/state.js';
import { CLUSTER, clusterOptions, SENDER, wire, type Wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const PORT = 4000;

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
  return Array.from({ length: 500 }, (_, flow) =>
    udp({ src, dst, sport: 1024 + flow, dport: PORT, ethDst: CLUSTER.mac }),
  );
});

const whole = (at: Wire, more: Partial<Options> = {}): Options =>
  clusterOptions(at.node, { totalNodes: 1, ...more });

/** Applies the setup as it is, and with other addresses, by turns. */
async function change(at: Wire): Promise<void> {
  const [entry] = clusterOptions(at.node).interfaces;
  const more = ['10.1.0.11/24', '10.1.0.12/24', 'fd01::11/64'];
  for (const added of [more.slice(0, 1), more, more.slice(1), []]) {
    await apply(whole(at), { replace: true });
    const addresses = [...added, `${CLUSTER.ipv4}/24`, `${CLUSTER.ipv6}/64`];
    const interfaces = [{ ...(entry as object), name: 'eth0', addresses }];
    await apply(whole(at, { interfaces }), { replace: true });
  }
}

test(
  'a setup that is applied again, and changed, under traffic loses nothing',
  { skip },
  async () => {
    await using at = await wire();
    await at.node.run('nft', ['-f', '-'], COUNTER);
    await apply(whole(at));
    await using engine = await open(whole(at));
    const changed = new AbortController();
    let sent = 0;
    const traffic = (async () => {
      for (; !changed.signal.aborted; sent += frames.length)
        await inject(at.sender, 'eth0', frames, { rate: 1000 });
    })();
    await waitFor('packets arrive', async () => (await counted(at, 'accepted')) > 0);
    try {
      await change(at);
    } finally {
      changed.abort();
      await traffic;
    }
    await waitFor('all are decided', () => engine.stats().received >= sent);
    await waitFor('all have arrived', async () => (await counted(at, 'arrived')) === sent);
    await waitFor('all are accepted', async () => (await counted(at, 'accepted')) === sent);
    const { queueDropped, userDropped } = engine.stats();
    assert.deepEqual({ queueDropped, userDropped }, { queueDropped: 0, userDropped: 0 });
    await revert({ netns: at.node.path });
  },
);
