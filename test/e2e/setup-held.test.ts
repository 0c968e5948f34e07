/*
 * What other queues hold, while a setup is asked about or taken back: no packet of it is lost. Nor does anything of the
 * cluster get in undecided between the transactions that take a setup by xtables back.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { apply, doctor, plan, revert, status } from '../../src/index.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { cli, share, waitFor } from '../support/processes.js';
import { OTHER, twoWires } from '../support/rules-lab.js';
import { counter, rulesOf, stateOf } from '../support/state.js';
import { CLUSTER, clusterOptions, NODE, SENDER, wire, type Wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

const HELD = 20;
const SEEN = `table inet seen {
  counter accepted { }
  chain input {
    type filter hook input priority 100
    udp dport 9 counter name accepted
  }
}`;

/** An interface and a setup of it, beside an engine on eth0. */
async function lab(): Promise<Wire> {
  const at = await wire();
  await at.node.ip('link add other type veth peer name peer', 'link set other up');
  await at.node.run('nft', ['-f', '-'], SEEN);
  return at;
}

const mine = ({ node }: Wire) => ({ ...clusterOptions(node), interfaces: ['other'], name: 'mine' });

const engine = async (at: Wire, ...more: readonly string[]) => {
  const queue = ['--interface', 'eth0', '--queue', '7', '--name', 'other'];
  const run = cli(['run', '--json', ...queue, ...share(1, 1), ...more], { namespace: at.node });
  await run.event('ready');
  return run;
};

async function held({ node }: Pick<Wire, 'node'>): Promise<number> {
  const queues = await node.run('cat', ['/proc/net/netfilter/nfnetlink_queue']);
  return Number(/^ *7 +\d+ +(\d+)/m.exec(queues)![1]);
}

/** Stops the engine, and lets packets wait for it. */
async function hold(at: Wire, { child }: Awaited<ReturnType<typeof engine>>): Promise<void> {
  child.kill('SIGSTOP');
  const frames = Array.from({ length: HELD }, (_, flow) =>
    udp({ src: SENDER.ipv4, dst: NODE.ipv4, sport: 1024 + flow, dport: 9 }),
  );
  await inject(at.sender, 'eth0', frames);
  await waitFor('packets are held', async () => (await held(at)) === HELD);
}

async function release(at: Wire, { child }: Awaited<ReturnType<typeof engine>>): Promise<void> {
  child.kill('SIGCONT');
  const accepted = (): Promise<number> => counter(at.node, 'seen', 'accepted');
  await waitFor('all are accepted', async () => (await accepted()) === HELD);
}

test('a setup is taken back without the loss of what another queue holds', { skip }, async () => {
  await using at = await lab();
  const other = await engine(at);
  const before = await stateOf(at.node);
  await apply(mine(at));
  await hold(at, other);
  const where = { name: 'mine', netns: at.node.path };
  await assert.rejects(revert(where), { code: 'ERR_HELD' });
  assert.equal(await held(at), HELD);
  // What is left is no setup.
  assert.equal((await status(where)).rules, false);
  await release(at, other);
  await revert(where);
  assert.equal(await stateOf(at.node), before);
  other.child.kill('SIGTERM');
  assert.equal((await other.outcome).status, 0);
});

test(
  'to ask about a setup loses nothing, also where nothing is tracked yet',
  { skip },
  async () => {
    await using at = await lab();
    const other = await engine(at, '--conntrack', 'off');
    await hold(at, other);
    await plan(mine(at));
    await status({}, mine(at));
    await doctor(mine(at));
    await release(at, other);
  },
);

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
async function holdOne({ sender, node }: Wire): Promise<void> {
  const args = ['run', '--json', '--interface', 'eth1', '--queue', '7', ...share(1, 1)];
  const run = cli(args, { namespace: node });
  await run.event('ready');
  run.child.kill('SIGSTOP');
  await inject(sender, 'eth1', [udp({ src: '10.2.0.1', dst: OTHER.ipv4, ethDst: OTHER.mac })]);
  await waitFor('a packet is held', async () => (await held({ node })) === 1);
}

for (const policy of ['jhash', 'clusterip'] as const) {
  test(
    `a setup by xtables that is taken back forwards no frame of the cluster, policy ${policy}`,
    { skip },
    async () => {
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
      await holdOne(at);
      const reverted = assert.rejects(revert({ name, netns: node.path }), { code: 'ERR_HELD' });
      const queues = new RegExp(`(-j|jump) nfq-cluster-${name}`);
      await waitFor('xtables queues no more', async () => !queues.test(await rulesOf(node)));
      await inject(sender, 'eth0', [...through(9, CLUSTER.mac), ...through(10, NODE.mac)]);
      await waitFor('what came behind', async () => (await counter(node, 'seen', 'unicast')) === 2);
      assert.equal(await counter(node, 'seen', 'undecided'), 0);
      await reverted;
    },
  );
}
