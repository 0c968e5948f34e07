/* Rules that somebody takes away from a running engine, as a firewall does that loads its own over everything. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { apply, open, revert, type Engine, type NfqClusterError } from '../../src/index.js';
import type { Namespace } from '../../src/lab/namespaces.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { cli, share, waitFor } from '../support/processes.js';
import { mechanismsHere } from '../support/rules-lab.js';
import { stateOf } from '../support/state.js';
import { CLUSTER, clusterOptions, NODE, SENDER, wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

const flush = (node: Namespace): Promise<string> => node.run('nft', ['flush', 'ruleset']);

const fault = async (engine: Engine): Promise<NfqClusterError> =>
  ((await once(engine, 'fault')) as [NfqClusterError])[0];

/** Every fault that an engine tells from here on. */
function faultsOf(engine: Engine): string[] {
  const faults: string[] = [];
  engine.on('fault', ({ code }) => faults.push(code));
  return faults;
}

describe('an engine whose rules are gone', { skip }, async () => {
  for (const [title, { kind }] of skip === false ? await mechanismsHere() : []) {
    test(`tells so, and the node answers for the cluster no more: ${title}`, async () => {
      await using at = await wire();
      const before = await stateOf(at.node);
      await using engine = await open(clusterOptions(at.node, { rules: kind }));
      const standing = await stateOf(at.node);
      for (const part of [CLUSTER.ipv4, CLUSTER.ipv6, CLUSTER.mac])
        assert.ok(standing.includes(part), part);
      const told = fault(engine);
      await flush(at.node);
      const { code, message, expected } = await told;
      assert.equal(code, 'ERR_RULES');
      assert.match(message, /^The rules are gone: what enters passes undecided\. /);
      assert.match(expected!, /nfq-cluster-q0/);
      assert.equal(await stateOf(at.node), before);
      await engine.close();
      assert.equal(await stateOf(at.node), before);
    });
  }

  test('takes back what it changed also where it is closed at once', async () => {
    await using at = await wire();
    const before = await stateOf(at.node);
    const engine = await open(clusterOptions(at.node));
    await flush(at.node);
    await engine.close();
    assert.equal(await stateOf(at.node), before);
  });

  test('and what apply() had changed, which nothing else remembers any more', async () => {
    await using at = await wire();
    const before = await stateOf(at.node);
    await apply(clusterOptions(at.node));
    await using engine = await open(clusterOptions(at.node));
    const told = fault(engine);
    await flush(at.node);
    await told;
    assert.equal(await stateOf(at.node), before);
  });

  test('by revert() leaves what an administrator adds behind it', async () => {
    await using at = await wire();
    await using engine = await open(clusterOptions(at.node));
    const told = fault(engine);
    await revert({ netns: at.node.path });
    assert.equal((await told).code, 'ERR_RULES');
    await at.node.ip(`address add ${CLUSTER.ipv4}/24 dev eth0`);
    const added = await stateOf(at.node);
    await engine.close();
    assert.equal(await stateOf(at.node), added);
  });

  test('leaves another setup that came in its place', async () => {
    await using at = await wire();
    await using engine = await open(clusterOptions(at.node));
    const told = fault(engine);
    await flush(at.node);
    await using _other = await open(clusterOptions(at.node, { name: 'q0', queues: [1] }));
    const standing = await stateOf(at.node);
    assert.equal((await told).code, 'ERR_RULES');
    await engine.close();
    assert.equal(await stateOf(at.node), standing);
  });

  test('and not one that is applied again beneath it', async () => {
    await using at = await wire();
    await using engine = await open(clusterOptions(at.node));
    await using watched = await open(clusterOptions(at.node, { name: 'q1', queues: [1] }));
    const faults = faultsOf(engine);
    for (let time = 0; time < 10; time += 1) await apply(clusterOptions(at.node));
    const told = fault(watched);
    await at.node.run('nft', ['delete', 'table', 'inet', 'nfq-cluster-q1']);
    await told;
    assert.deepEqual(faults, []);
  });
});

test('`run` whose rules are gone ends with 1, and the next one decides', { skip }, async () => {
  await using at = await wire();
  const before = await stateOf(at.node);
  const args = [
    ...['run', '--json', '-i', 'eth0', ...share(1, 1)],
    ...['--address', `eth0=${CLUSTER.ipv4}/24`, '--mac', `eth0=${CLUSTER.mac}`],
  ];
  const run = cli(args, { namespace: at.node });
  await run.event('ready');
  await flush(at.node);
  const { status, stderr } = await run.outcome;
  assert.equal(status, 1);
  assert.match(stderr, /^nfq-cluster: The rules are gone: .* open another once nobody/m);
  assert.equal(await stateOf(at.node), before);

  const next = cli(args, { namespace: at.node });
  await next.event('ready');
  await inject(at.sender, 'eth0', [udp({ src: SENDER.ipv4, dst: NODE.ipv4 })]);
  await waitFor('it decides', async () => (await next.event('stats'))['owned'] !== 0);
  next.child.kill('SIGTERM');
  assert.equal((await next.outcome).status, 0);
  assert.equal(await stateOf(at.node), before);
});
