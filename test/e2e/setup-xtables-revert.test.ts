/* A setup by xtables is taken back in several transactions: between them nothing of the cluster gets in undecided. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { apply, revert } from '../../src/index.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { cli, share, waitFor } from '../support/processes.js';
import { OTHER, twoWires } from '../support/rules-lab.js';
import { counter, rulesOf } from '../support/state.js';
import { CLUSTER, clusterOptions, NODE, SENDER, type Wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const FORWARDED = `table inet seen {
  counter undecided { }
  counter unicast { }
  chain forward {
    type filter hook forward priority 0
    udp dport 9 counter name undecided
    udp dport 10 counter name unicast
  }
}`;

/** Beyond the node, on its other wire. */
const BEYOND = { 4: '10.2.0.9', 6: 'fd02::9' };

const through = (dport: number, ethDst: string): Buffer[] => [
  udp({ src: SENDER.ipv4, dst: BEYOND[4], dport, ethDst }),
  udp({ src: SENDER.ipv6, dst: BEYOND[6], dport, ethDst }),
];

/** A packet that an engine on the other wire holds for as long as it is stopped: the setup's base chains wait for it. */
async function hold({ sender, node }: Wire): Promise<void> {
  const args = ['run', '--json', '--interface', 'eth1', '--queue', '7', ...share(1, 1)];
  const run = cli(args, { namespace: node });
  await run.event('ready');
  run.child.kill('SIGSTOP');
  await inject(sender, 'eth1', [udp({ src: '10.2.0.1', dst: OTHER.ipv4, ethDst: OTHER.mac })]);
  await waitFor('a packet is held', async () => {
    const queues = await node.run('cat', ['/proc/net/netfilter/nfnetlink_queue']);
    return /^ *7 +\d+ +1 /m.test(queues);
  });
}

for (const policy of ['jhash', 'clusterip'] as const) {
  test(`forwards no frame of the cluster, policy ${policy}`, { skip }, async () => {
    await using at = await twoWires();
    const { sender, node } = at;
    await node.sysctl({ 'ipv4/ip_forward': 1, 'ipv6/conf/all/forwarding': 1 });
    await node.run('nft', ['-f', '-'], FORWARDED);
    const addresses = [`${CLUSTER.ipv4}/24`];
    const name = 'taken-back';
    const interfaces = [
      { name: 'eth0', addresses, mac: CLUSTER.mac, destinations: 'all' as const },
    ];
    await apply(clusterOptions(node, { name, policy, interfaces, rules: 'xtables' }));
    await hold(at);
    const reverted = assert.rejects(revert({ name, netns: node.path }), { code: 'ERR_HELD' });
    const queues = new RegExp(`(-j|jump) nfq-cluster-${name}`);
    await waitFor('xtables queues no more', async () => !queues.test(await rulesOf(node)));
    await inject(sender, 'eth0', [...through(9, CLUSTER.mac), ...through(10, NODE.mac)]);
    await waitFor('what came behind', async () => (await counter(node, 'seen', 'unicast')) === 2);
    assert.equal(await counter(node, 'seen', 'undecided'), 0);
    await reverted;
  });
}
