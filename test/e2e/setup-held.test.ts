/* What other queues hold, while a setup is taken back: no packet of it is lost. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { apply, revert } from '../../src/index.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { cli, share, waitFor } from '../support/processes.js';
import { counter, stateOf } from '../support/state.js';
import { clusterOptions, NODE, SENDER, wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

const HELD = 20;
const SEEN = `table inet seen {
  counter accepted { }
  chain input {
    type filter hook input priority 100
    udp dport 9 counter name accepted
  }
}`;

test('a setup is taken back without the loss of what another queue holds', { skip }, async () => {
  await using at = await wire();
  await at.node.ip('link add other type veth peer name peer', 'link set other up');
  await at.node.run('nft', ['-f', '-'], SEEN);
  const args = [
    ...['run', '--json', '--interface', 'eth0', '--queue', '7', '--name', 'other'],
    ...share(1, 1),
  ];
  const other = cli(args, { namespace: at.node });
  await other.event('ready');
  const before = await stateOf(at.node);
  const mine = { ...clusterOptions(at.node), interfaces: ['other'], name: 'mine' };
  await apply(mine);
  other.child.kill('SIGSTOP');
  const frames = Array.from({ length: HELD }, (_, flow) =>
    udp({ src: SENDER.ipv4, dst: NODE.ipv4, sport: 1024 + flow, dport: 9 }),
  );
  await inject(at.sender, 'eth0', frames);
  const held = async (): Promise<number> => {
    const queues = await at.node.run('cat', ['/proc/net/netfilter/nfnetlink_queue']);
    return Number(/^ *7 +\d+ +(\d+)/m.exec(queues)![1]);
  };
  await waitFor('packets are held', async () => (await held()) === HELD);
  const where = { name: 'mine', netns: at.node.path };
  await assert.rejects(revert(where), { code: 'ERR_HELD' });
  assert.equal(await held(), HELD);
  other.child.kill('SIGCONT');
  const accepted = (): Promise<number> => counter(at.node, 'seen', 'accepted');
  await waitFor('all are accepted', async () => (await accepted()) === HELD);
  await revert(where);
  assert.equal(await stateOf(at.node), before);
  other.child.kill('SIGTERM');
  assert.equal((await other.outcome).status, 0);
});
