/* What other queues hold, while a setup is asked about or taken back: no packet of it is lost. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { apply, doctor, plan, revert, status } from '../../src/index.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { cli, share, waitFor } from '../support/processes.js';
import { counter, stateOf } from '../support/state.js';
import { clusterOptions, NODE, SENDER, wire, type Wire } from '../support/wire.js';

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

async function held({ node }: Wire): Promise<number> {
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
