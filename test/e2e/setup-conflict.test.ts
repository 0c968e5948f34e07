/* Setups of one name: whoever comes while an engine decides by it is refused, and what came later is left alone. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { apply, open, revert, status, type Options } from '../../src/index.js';
import { resolveOptions } from '../../src/options/resolve.js';
import { install } from '../../src/setup/setup.js';
import { chooseMechanism } from '../../src/setup/probe.js';
import { hiddenFromOthers, NET_ADMIN_ALONE } from '../support/capabilities.js';
import { cli } from '../support/processes.js';
import { stateOf } from '../support/state.js';
import { CLUSTER, clusterOptions, wire, type Wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

/** Two interfaces, eth0 and eth1, in the node. */
async function lab(): Promise<Wire> {
  const at = await wire();
  await at.sender.veth('eth1', at.node, 'eth1');
  await at.node.ip('link set eth1 up');
  return at;
}

const options = ({ node }: Wire, more: Partial<Options> = {}): Options =>
  clusterOptions(node, { name: 'gw', interfaces: ['eth0'], ...more });

const OTHERS: Record<string, Partial<Options>> = {
  'other queues and interfaces': { queues: [1], interfaces: ['eth1'] },
  'more queues': { queues: [1, 2], marks: { multicast: 0x1000_0000 } },
};

describe('while an engine decides', { skip }, () => {
  for (const [what, more] of Object.entries(OTHERS)) {
    test(`another of its name is refused: ${what}`, async () => {
      await using at = await lab();
      const before = await stateOf(at.node);
      await using engine = await open(options(at));
      const running = await stateOf(at.node);
      const refused = { code: 'ERR_CONFLICT', message: /named gw decides.* queue 0, with/ };
      await assert.rejects(open(options(at, more)), refused);
      assert.equal(await stateOf(at.node), running);
      await engine.close();
      assert.equal(await stateOf(at.node), before);
      await (await open(options(at, more))).close();
      assert.equal(await stateOf(at.node), before);
    });
  }

  test('no setup takes its name with other options, told to replace or not', async () => {
    await using at = await lab();
    await using engine = await open(options(at));
    const running = await stateOf(at.node);
    const other = options(at, { interfaces: ['eth1'] });
    for (const replace of [false, true])
      await assert.rejects(apply(other, { replace }), { code: 'ERR_CONFLICT' });
    assert.equal(await stateOf(at.node), running);
    // To ask is not to change.
    assert.equal((await status({}, other)).steps![0]!.state, 'changed');
    await apply(options(at));
    await engine.close();
    assert.equal((await status({ name: 'gw', netns: at.node.path })).standing, true);
  });

  test('of those that open at once under one name, one does', async () => {
    await using at = await lab();
    const both = [options(at), options(at, { queues: [1], interfaces: ['eth1'] })];
    const opened = await Promise.allSettled(both.map(open));
    for (const outcome of opened) if (outcome.status === 'fulfilled') await outcome.value.close();
    const [refused, ...more] = opened.filter((outcome) => outcome.status === 'rejected');
    assert.deepEqual([(refused?.reason as { code: string }).code, more], ['ERR_CONFLICT', []]);
  });
});

test(
  'one that means something else by the same bits of connmarks is refused',
  { skip },
  async () => {
    await using at = await lab();
    const first = options(at, { name: 'one', conntrack: 'mark' });
    const second = options(at, {
      name: 'two',
      conntrack: 'mark',
      interfaces: ['eth1'],
      queues: [1],
    });
    const others: Partial<Options>[] = [
      { hashSeed: 99 },
      { policy: 'xt_cluster' },
      { hashSeed: 99, marks: { bucket: 0x00ff_0000 } },
      { policy: 'clusterip', conntrack: 'auto' },
    ];
    await using _one = await open(first);
    const standing = await stateOf(at.node);
    for (const more of others) {
      const refused = {
        code: 'ERR_CONFLICT',
        message: /setup one keeps something else in the connmark bits 0x3ff0000/,
      };
      for (const change of [open, apply])
        await assert.rejects(change({ ...second, ...more }), refused);
      assert.equal(await stateOf(at.node), standing);
    }
    await (await open(second)).close();
    await (await open({ ...second, hashSeed: 99, marks: { bucket: 0x1c00_0000 } })).close();
    assert.equal(await stateOf(at.node), standing);
  },
);

const UNDER_AN_ENGINE: Record<string, [Partial<Options>, Partial<Options>]> = {
  'that hash otherwise': [{ conntrack: 'mark' }, { hashSeed: 8 }],
  'that hash otherwise, offloaded': [{ offload: ['flows'] }, { hashSeed: 8 }],
  'that hash otherwise, stateless': [{ conntrack: 'off', offload: ['sources'] }, { hashSeed: 8 }],
  'of one more interface': [{ offload: ['flows'] }, { interfaces: ['eth0', 'eth1'] }],
  // It answers as packets that return to xtables need it.
  'of another kind': [{ rules: 'xtables' }, { rules: 'auto' }],
};

describe('under an engine that runs', { skip }, () => {
  for (const [what, [first, second]] of Object.entries(UNDER_AN_ENGINE)) {
    test(`no rules come ${what}`, async () => {
      await using at = await lab();
      const own = options(at, { ...first, hashSeed: 7 });
      const other = { ...own, ...second };
      await apply(own);
      await using engine = await open(own);
      const standing = await stateOf(at.node);
      const refused = { code: 'ERR_CONFLICT', message: /named gw decides/ };
      await assert.rejects(apply(other, { replace: true }), refused);
      assert.equal(await stateOf(at.node), standing);
      await engine.close();
      await apply(other, { replace: true });
      await (await open(other)).close();
    });
  }
});

const OFFLOADED: Partial<Options>[] = [
  { offload: ['flows'] },
  { offload: ['sources'] },
  { offload: ['sources'], conntrack: 'off' },
];

describe('a setup whose name another has by now', { skip }, () => {
  for (const way of OFFLOADED) {
    test(`does not own by that one's sets: ${JSON.stringify(way)}`, async () => {
      await using at = await lab();
      await using engine = await open(options(at, way));
      await revert({ name: 'gw', netns: at.node.path });
      await using _other = await open(options(at, { ...way, queues: [1] }));
      const standing = await stateOf(at.node);
      for (const validFor of [Infinity, 60_000]) {
        const wanted = engine.setOwnership({ nodes: [1, 2], validFor });
        await assert.rejects(wanted, { code: 'ERR_RULES', message: /are gone/ });
      }
      assert.deepEqual(engine.ownership.buckets, [0]);
      assert.equal(await stateOf(at.node), standing);
    });
  }

  test('does not take that one back', async () => {
    await using at = await lab();
    await using engine = await open(options(at));
    // As somebody may who is sure.
    await revert({ name: 'gw', netns: at.node.path });
    await using _other = await open(options(at, { queues: [1], interfaces: ['eth1'] }));
    const standing = await stateOf(at.node);
    await engine.close();
    assert.equal(await stateOf(at.node), standing);
  });

  test('nor where both have the same options', async () => {
    await using at = await lab();
    const resolved = resolveOptions(options(at));
    const mechanism = await chooseMechanism(resolved);
    const first = await install(resolved, mechanism);
    const second = await install(resolved, mechanism);
    const standing = await stateOf(at.node);
    await first.stopQueueing();
    await first.remove();
    assert.equal(await stateOf(at.node), standing);
    await second.remove();
    assert.doesNotMatch(await stateOf(at.node), /nfq-cluster/);
  });
});

test('an engine owns by the sets of its setup where that is made anew', { skip }, async () => {
  await using at = await lab();
  const own = options(at, { offload: ['sources'], conntrack: 'off' });
  await using engine = await open(own);
  const made = await stateOf(at.node);
  await revert({ name: 'gw', netns: at.node.path });
  await apply(own);
  assert.notEqual(await stateOf(at.node), made);
  await engine.own('2');
  const list = ['list', 'set', 'inet', 'nfq-cluster-gw', 'owned-buckets'];
  assert.match(await at.node.run('nft', list), /elements = \{ 1 \}/);
});

const unasked = skip || hiddenFromOthers();
test('who may not read which queues are listened to is refused', { skip: unasked }, async () => {
  await using at = await lab();
  const resolved = resolveOptions(options(at));
  await install(resolved, await chooseMechanism(resolved));
  const share = '--cluster-total-nodes 2 --cluster-local-node 1 --cluster-hash-seed 1'.split(' ');
  const line = ['apply', '--name', 'gw', '-i', 'eth1', ...share];
  const asked = async (wrapper: readonly string[]): Promise<number | string> =>
    (await cli(line, { namespace: at.node, wrapper }).outcome).status;
  assert.deepEqual([await asked(NET_ADMIN_ALONE), await asked([])], [1, 0]);
});

describe('close() leaves a setup that stands', { skip }, () => {
  test('as somebody has changed it', async () => {
    await using at = await lab();
    const own = clusterOptions(at.node, { name: 'gw' });
    await apply(own);
    await using engine = await open(own);
    await at.node.ip(
      `address del ${CLUSTER.ipv4}/24 dev eth0`,
      `maddress del ${CLUSTER.mac} dev eth0`,
    );
    const changed = await stateOf(at.node);
    await engine.close();
    assert.equal(await stateOf(at.node), changed);
  });

  test('also where its interface is gone', async () => {
    await using at = await lab();
    const own = clusterOptions(at.node, { name: 'gw' });
    await apply(own);
    await using engine = await open(own);
    await at.node.ip('link del eth0');
    await engine.close();
    assert.equal((await status({ name: 'gw', netns: at.node.path })).standing, true);
  });
});
