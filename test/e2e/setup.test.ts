/* A node's setup on a real kernel: in place, told to neighbours, and taken back without a trace. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { apply, doctor, open, plan, revert, status, type Options } from '../../src/index.js';
import type { Namespace } from '../../src/lab/namespaces.js';
import { resolveOptions } from '../../src/options/resolve.js';
import { install } from '../../src/setup/setup.js';
import { chooseMechanism } from '../../src/setup/probe.js';
import { asScript } from '../../src/setup/script.js';
import { capture } from '../support/capture.js';
import { inject } from '../support/inject.js';
import { arpRequest, solicitation, told, type Told } from '../support/neighbours.js';
import { bytes, udp } from '../support/packets.js';
import { cli, waitFor } from '../support/processes.js';
import { stateOf } from '../support/state.js';
import { echoServer, tcpExchange } from '../support/tcp.js';
import { CLUSTER, clusterOptions, NODE, SENDER, wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

const where = (node: Namespace, name = 'q0') => ({ name, netns: node.path });

const isOf =
  (address: string, what: Told['what']) =>
  (frame: Buffer): boolean => {
    const said = told(frame);
    return said?.address === bytes(address).toString('hex') && said.what === what;
  };

/** What an administrator had before, in every place that a setup touches. */
async function administrators(node: Namespace): Promise<void> {
  await node.run(
    'nft',
    ['-f', '-'],
    'table arp mine { chain c { type filter hook output priority 0; }; }',
  );
  await node.run('ip', ['maddress', 'add', '03:00:00:00:00:99', 'dev', 'eth0']);
  await node.ip(`address add 10.1.0.99/24 dev eth0`, `address add fd01::99/64 dev eth0 nodad`);
  await node.sysctl({ 'ipv6/conf/eth0/drop_unicast_in_l2_multicast': 1 });
}

describe('a setup', { skip }, () => {
  test('is taken back without a trace, whatever the administrator had', async () => {
    await using at = await wire();
    await administrators(at.node);
    const before = await stateOf(at.node);
    await apply(clusterOptions(at.node));
    const standing = await stateOf(at.node);
    for (const part of [CLUSTER.ipv4, CLUSTER.ipv6, CLUSTER.mac, 'nfq-cluster-q0'])
      assert.ok(standing.includes(part), part);
    await revert(where(at.node));
    assert.equal(await stateOf(at.node), before);
    await revert(where(at.node));
    assert.equal(await stateOf(at.node), before);
  });

  test("leaves the node's own connections their source", async () => {
    await using at = await wire();
    const sources = async (): Promise<string[]> =>
      (
        await at.node.run(
          'ip',
          ['-batch', '-'],
          `route get ${SENDER.ipv4}\nroute get ${SENDER.ipv6}`,
        )
      )
        .split('\n')
        .flatMap((line) => / src (\S+)/.exec(line)?.[1] ?? []);
    await apply(clusterOptions(at.node));
    assert.deepEqual(await sources(), [NODE.ipv4, NODE.ipv6]);
    const address = (what: string): string => `address ${what} ${NODE.ipv6}/64 dev eth0`;
    await at.node.ip(address('delete'), `${address('add')} nodad`);
    assert.equal((await sources()).at(-1), NODE.ipv6);
    // Where there is no other it serves.
    await at.node.ip(address('delete'));
    assert.equal((await sources()).at(-1), CLUSTER.ipv6);
  });

  test('may be applied again, and again tells what was before the first time', async () => {
    await using at = await wire();
    const before = await stateOf(at.node);
    await apply(clusterOptions(at.node));
    const once = await stateOf(at.node);
    const again = await apply(clusterOptions(at.node));
    assert.equal(await stateOf(at.node), once);
    const changes = again.steps.filter(({ program }) => program === 'ip' || program === 'sysctl');
    assert.ok(changes.length > 4 && changes.every(({ inPlace }) => inPlace));
    await revert(where(at.node));
    assert.equal(await stateOf(at.node), before);
  });

  test('leaves what the administrator had of the same, and what was changed since', async () => {
    await using at = await wire();
    await at.node.ip(`address add ${CLUSTER.ipv4}/32 dev eth0`);
    await at.node.run('ip', ['maddress', 'add', CLUSTER.mac, 'dev', 'eth0']);
    await apply(clusterOptions(at.node));
    await at.node.ip(`address delete ${CLUSTER.ipv6}/64 dev eth0`);
    await at.node.sysctl({ 'netfilter/nf_conntrack_tcp_loose': 1 });
    const found = await status(where(at.node));
    const missing = found.changes.filter(({ inPlace }) => !inPlace).map(({ on }) => on);
    assert.deepEqual(missing, ['netfilter/nf_conntrack_tcp_loose', 'eth0']);
    await revert(where(at.node));
    const after = await stateOf(at.node);
    assert.match(after, /inet 10\.1\.0\.10\/32/);
    assert.match(after, /link {2}03:00:00:00:00:02 static/);
    assert.match(after, /nf_conntrack_tcp_loose:1/);
    assert.doesNotMatch(after, /nfq-cluster|fd01::10/);
  });

  test('changes to other options only if told to, and then forgets what is no longer its own', async () => {
    await using at = await wire();
    const before = await stateOf(at.node);
    await apply(clusterOptions(at.node));
    const other = clusterOptions(at.node, {
      interfaces: [{ name: 'eth0', addresses: ['10.1.0.11/24'], mac: '03:00:00:00:00:11' }],
    });
    await assert.rejects(apply(other), { code: 'ERR_CONFLICT' });
    await assert.rejects(open(other), { code: 'ERR_CONFLICT' });
    await apply(other, { replace: true });
    const replaced = await stateOf(at.node);
    assert.match(replaced, /10\.1\.0\.11/);
    assert.doesNotMatch(replaced, /10\.1\.0\.10|fd01::10|03:00:00:00:00:02/);
    await revert(where(at.node));
    assert.equal(await stateOf(at.node), before);
  });

  test('leaves nothing of what it offloaded to one in its place', async () => {
    await using at = await wire();
    const options = (more: Partial<Options>): Options =>
      clusterOptions(at.node, { offload: ['flows'], name: 'q0', ...more });
    const first = resolveOptions(options({}));
    const owning = { owned: [0], remaining: () => Infinity };
    await install(first, await chooseMechanism(first), { standing: true, owning });
    const owned = (): Promise<string> =>
      at.node.run('nft', ['list', 'set', 'inet', 'nfq-cluster-q0', 'owned-marks']);
    assert.match(await owned(), /elements/);

    // Bucket 0 of four is another node's.
    await apply(options({ totalNodes: 4, localNode: 2 }), { replace: true });
    assert.doesNotMatch(await owned(), /elements/);

    const without = options({ offload: [] });
    await apply(without, { replace: true });
    const { steps } = await status({}, without);
    assert.deepEqual([...new Set(steps!.map(({ state }) => state))], ['in place']);
  });

  test('as a script is the same as applied', async () => {
    await using one = await wire();
    await using other = await wire();
    const before = await stateOf(other.node);
    await apply(clusterOptions(one.node));
    const script = asScript(await plan(clusterOptions(other.node)));
    assert.equal(await stateOf(other.node), before, 'a plan changes nothing');
    await other.node.run('sh', ['-s'], script);
    const comparable = async (node: Namespace): Promise<string> =>
      (await stateOf(node)).replace(/link-netns\S* \S+|eth0@if\d+/g, '');
    assert.equal(await comparable(other.node), await comparable(one.node));
    await revert(where(other.node));
    assert.equal(await stateOf(other.node), before);
  });

  test('of an engine goes with it; one that stands stays, and is used', async () => {
    await using at = await wire();
    const before = await stateOf(at.node);
    await using engine = await open(clusterOptions(at.node));
    assert.equal((await status(where(at.node))).standing, false);
    await engine.close();
    assert.equal(await stateOf(at.node), before);
    await apply(clusterOptions(at.node));
    const standing = await stateOf(at.node);
    await using user = await open(clusterOptions(at.node));
    assert.equal(await stateOf(at.node), standing);
    await user.close();
    assert.equal(await stateOf(at.node), standing);
  });

  test('of a killed process is taken back by another', async () => {
    await using at = await wire();
    const before = await stateOf(at.node);
    const share = ['--cluster-total-nodes', '1', '--cluster-local-node', '1'];
    const shared = [
      ...['--address', `eth0=${CLUSTER.ipv4}/24`, '--address', `eth0=${CLUSTER.ipv6}/64`],
      ...['--mac', `eth0=${CLUSTER.mac}`],
    ];
    const args = ['run', '-i', 'eth0', ...shared, ...share, '--cluster-hash-seed', '0', '--json'];
    const run = cli(args, { namespace: at.node });
    await run.event('ready');
    run.child.kill('SIGKILL');
    await run.outcome;
    const asked = await cli(['status', '--setup', '--json'], { namespace: at.node }).outcome;
    assert.equal(asked.status, 0, asked.stderr);
    assert.equal((JSON.parse(asked.stdout) as { standing: boolean }).standing, false);
    const reverted = await cli(['revert'], { namespace: at.node }).outcome;
    assert.deepEqual(reverted, { status: 0, stdout: '', stderr: '' });
    assert.equal(await stateOf(at.node), before);
    assert.equal((await cli(['status', '--setup'], { namespace: at.node }).outcome).status, 1);
  });
});

describe('neighbours', { skip }, () => {
  test('are told the cluster MAC for cluster addresses, and the own MAC for others', async () => {
    await using at = await wire();
    await apply(clusterOptions(at.node));
    await using seen = await capture(at.sender, 'eth0', 'arp or icmp6');
    await inject(at.sender, 'eth0', [
      ...[CLUSTER.ipv4, NODE.ipv4].map(arpRequest),
      ...[CLUSTER.ipv6, NODE.ipv6].map(solicitation),
    ]);
    const expected = [
      [CLUSTER.ipv4, 'reply', CLUSTER.mac],
      [NODE.ipv4, 'reply', NODE.mac],
      [CLUSTER.ipv6, 'advertisement', CLUSTER.mac],
      [NODE.ipv6, 'advertisement', NODE.mac],
    ] as const;
    for (const [address, what, mac] of expected) {
      await seen.seen(`${what} of ${address}`, isOf(address, what));
      const said = told(seen.frames.find(isOf(address, what))!)!;
      assert.deepEqual([said.mac, said.from, said.right], [mac, NODE.mac, true], address);
    }
  });

  test('are asked in the name of a cluster address with the cluster MAC', async () => {
    await using at = await wire();
    await apply(clusterOptions(at.node));
    await using seen = await capture(at.sender, 'eth0', 'arp or icmp6');
    const ask = (from: string, to: string): Promise<string> =>
      at.node.run(process.execPath, ['-e', datagram(from, to)]);
    await ask(CLUSTER.ipv4, '10.1.0.77');
    await ask(CLUSTER.ipv6, 'fd01::77');
    await ask(NODE.ipv4, '10.1.0.78');
    await ask(NODE.ipv6, 'fd01::78');
    for (const [address, what, mac] of [
      [CLUSTER.ipv4, 'request', CLUSTER.mac],
      [CLUSTER.ipv6, 'solicitation', CLUSTER.mac],
      [NODE.ipv4, 'request', NODE.mac],
      [NODE.ipv6, 'solicitation', NODE.mac],
    ] as const) {
      await seen.seen(`${what} by ${address}`, isOf(address, what));
      const said = told(seen.frames.find(isOf(address, what))!)!;
      assert.deepEqual([said.mac, said.right], [mac, true], address);
    }
  });

  test('are told nothing rather than the own MAC, once the interface has another', async () => {
    await using at = await wire();
    await apply(clusterOptions(at.node));
    await at.node.ip('link set eth0 address 02:00:00:00:00:55');
    await using seen = await capture(at.sender, 'eth0', 'arp or icmp6');
    await inject(at.sender, 'eth0', [CLUSTER.ipv6, NODE.ipv6].map(solicitation));
    await seen.seen("the node's own answer", isOf(NODE.ipv6, 'advertisement'));
    assert.ok(!seen.frames.some(isOf(CLUSTER.ipv6, 'advertisement')));
    await apply(clusterOptions(at.node));
    await inject(at.sender, 'eth0', [solicitation(CLUSTER.ipv6)]);
    await seen.seen('the answer', isOf(CLUSTER.ipv6, 'advertisement'));
    const said = told(seen.frames.find(isOf(CLUSTER.ipv6, 'advertisement'))!)!;
    assert.deepEqual([said.mac, said.right], [CLUSTER.mac, true]);
  });

  test('believe it: a client resolves both and talks to the node', async () => {
    await using at = await wire();
    await using _engine = await open(clusterOptions(at.node, { totalNodes: 1 }));
    for (const address of [CLUSTER.ipv4, CLUSTER.ipv6]) {
      await echoServer(at.node, address, 7);
      assert.equal(await tcpExchange(at.sender, address, 7, 'hello'), 'hello');
      const neighbour = await at.sender.run('ip', ['neighbour', 'show', address]);
      assert.match(neighbour, new RegExp(`lladdr ${CLUSTER.mac} `));
    }
  });

  test('on another interface are not told that the address is there', async () => {
    await using at = await wire();
    await at.sender.veth('eth1', at.node, 'eth1');
    await at.node.ip(
      'link set eth1 address 02:00:00:00:01:02 up',
      'address add 10.9.0.2/24 dev eth1',
    );
    await at.sender.ip('link set eth1 up');
    await apply(clusterOptions(at.node));
    await using seen = await capture(at.sender, 'eth1', 'arp');
    await inject(at.sender, 'eth1', [arpRequest(CLUSTER.ipv4), arpRequest('10.9.0.2')]);
    await seen.seen('the answer for its own', isOf('10.9.0.2', 'reply'));
    assert.ok(!seen.frames.some(isOf(CLUSTER.ipv4, 'reply')));
  });
});

describe('a setup is refused before anything changes:', { skip }, () => {
  const refused = (what: string, more: Partial<Options>, code: string, words: RegExp): void => {
    test(what, async () => {
      await using at = await wire();
      await apply(clusterOptions(at.node, { name: 'other', queues: [4, 5] }));
      const before = await stateOf(at.node);
      await assert.rejects(apply(clusterOptions(at.node, more)), { code, message: words });
      await assert.rejects(plan(clusterOptions(at.node, more)), { code });
      assert.equal(await stateOf(at.node), before);
    });
  };
  const on = (entry: object): Partial<Options> => ({ interfaces: [{ name: 'eth0', ...entry }] });
  refused(
    'a unicast MAC',
    on({ mac: '02:00:00:00:00:01' }),
    'ERR_INVALID_OPTION',
    /interfaces\.0\.mac/,
  );
  for (const name of ['eth7', 'constructor'])
    refused(
      `an unknown interface ${name}`,
      { interfaces: [name] },
      'ERR_NO_INTERFACE',
      new RegExp(name),
    );
  refused(
    'an address without a MAC',
    on({ addresses: ['192.0.2.1/24'] }),
    'ERR_INVALID_OPTION',
    /interfaces\.0\.mac/,
  );
  refused(
    'overlapping queues',
    { queues: [3, 4] },
    'ERR_CONFLICT',
    /other already uses queues 4 to 5; asked for: queues 3 to 4/,
  );
  refused('a name that is taken', { name: 'other', queues: [4] }, 'ERR_CONFLICT', /named other/);
});

test(
  'a port of a bridge is refused, by which no packet enters, and the bridge is not',
  { skip },
  async () => {
    await using at = await wire();
    const { node } = at;
    await node.ip(
      'link add br0 type bridge',
      'link set br0 up',
      `address flush dev eth0`,
      'link set eth0 master br0',
      `address add ${NODE.ipv4}/24 dev br0`,
    );
    const before = await stateOf(node);
    const wrong = clusterOptions(node);
    const refused = { code: 'ERR_INVALID_OPTION', message: /eth0 .* br0.*Name br0/ };
    for (const attempt of [plan, apply, open]) await assert.rejects(attempt(wrong), refused);
    const { findings } = await doctor(wrong);
    assert.ok(findings.some(({ level, found }) => level === 'error' && /eth0 .* br0/.test(found)));
    assert.equal(await stateOf(node), before);

    const [entry] = wrong.interfaces as [object];
    await using engine = await open({ ...wrong, interfaces: [{ ...entry, name: 'br0' }] });
    const ethDst = /link\/ether (\S+)/.exec(await node.run('ip', ['link', 'show', 'br0']))![1]!;
    await waitFor('the bridge forwards', async () =>
      (await node.run('bridge', ['link', 'show'])).includes('state forwarding'),
    );
    await inject(at.sender, 'eth0', [udp({ src: '10.1.0.1', dst: NODE.ipv4, ethDst })]);
    await waitFor('it is decided', () => engine.stats().received > 0);
  },
);

test('addresses of no interface are refused', async () => {
  const share = [
    '--cluster-total-nodes',
    '1',
    '--cluster-local-node',
    '1',
    '--cluster-hash-seed',
    '0',
  ];
  const line = ['apply', '-i', 'eth0', '--address', 'eth1=192.0.2.1/24', ...share];
  const { status: exit, stderr } = await cli(line).outcome;
  assert.equal(exit, 2);
  assert.match(stderr, /named by --interface for --address but received "eth1"/);
});

const datagram = (from: string, to: string): string =>
  `const s = require('dgram').createSocket('${from.includes(':') ? 'udp6' : 'udp4'}');
   s.bind({ address: '${from}' }, () => s.send('x', 9, '${to}', () => s.close()));`;
