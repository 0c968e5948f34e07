/* Rules that a killed engine left decide until another engine comes in its place, perhaps by another hash. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { range } from '../../src/options/buckets.js';
import {
  apply,
  findConnection,
  Hasher,
  open,
  plan,
  revert,
  type Options,
} from '../../src/index.js';
import { Namespace } from '../../src/lab/namespaces.js';
import { gateway, SERVER, skip, source } from '../support/judged-gateway.js';
import { inject } from '../support/inject.js';
import { elements } from '../support/elements.js';
import { engineProcess } from '../support/offload-process.js';
import { udp } from '../support/packets.js';

const HASHING = { policy: 'xt_cluster', totalNodes: 2, hashSeed: 7 } as const;
const OTHER = { ...HASHING, hashSeed: 8 };
const SOURCES = range(4000).map((index) => source(6, index));

for (const offload of ['sources', 'flows'] as const) {
  test(
    `by offload ${offload} no connection keeps a bucket that a killed engine’s rules gave it`,
    { skip },
    async () => {
      await using lab = await gateway();
      const options: Options = {
        ...HASHING,
        ownership: { nodes: [1, 2] },
        interfaces: ['outside', 'inside'],
        netns: lab.gateway.path,
        offload: [offload],
        rules: 'auto',
      };
      {
        await using _killed = await engineProcess(options);
      }
      const link = await lab.gateway.run('ip', ['link', 'show', 'outside']);
      const ethDst = /link\/ether (\S+)/.exec(link)![1]!;
      const frames = SOURCES.map((src) => udp({ src, dst: SERVER[6], ethDst }));
      let taken = false;
      const send = async (): Promise<void> => {
        while (!taken) await inject(lab.client, 'eth0', frames, { rate: 2000 });
      };
      const sending = send();
      await using _engine = await open({ ...options, ...OTHER }).finally(() => (taken = true));
      await sending;
      const hasher = new Hasher(OTHER);
      let kept = 0;
      for (const src of SOURCES) {
        const tuple = { src, dst: SERVER[6], protocol: 17, sport: 1024, dport: 9 };
        const mark = (await findConnection(tuple, lab.gateway.path))?.mark ?? 0;
        if (mark === 0) continue;
        assert.equal(mark >>> 16, hasher.node(src), src);
        kept += 1;
      }
      assert.ok(kept > 0);
    },
  );
}

test('by apply() nothing is owned any more of what a killed engine left', { skip }, async () => {
  await using node = await Namespace.create();
  const options: Options = {
    ...HASHING,
    localNode: 1,
    interfaces: ['lo'],
    netns: node.path,
    offload: ['flows'],
    rules: 'auto',
  };
  const owned = (): Promise<string> =>
    node.run('nft', ['list', 'set', 'inet', 'nfq-cluster-q0', 'owned-marks']);
  const ending = (): Promise<string> =>
    node.run('nft', ['list', 'set', 'inet', 'nfq-cluster-q0', 'ending-marks']);
  {
    await using _killed = await engineProcess(options);
  }
  assert.match(`${await owned()}${await ending()}`, /elements/);
  const emptying = (await plan(options)).steps;
  assert.deepEqual((await apply(options)).steps, emptying);
  assert.doesNotMatch(`${await owned()}${await ending()}`, /elements/);
  await using _engine = await open(options);
  assert.match(await owned(), /elements/);
  const keeping = (await plan(options)).steps;
  assert.notDeepEqual(keeping, emptying);
  assert.deepEqual((await apply(options)).steps, keeping);
  assert.match(await owned(), /elements/);
});

describe('an engine whose setup is taken from it', { skip }, () => {
  const offloading = (node: Namespace, more: Partial<Options> = {}): Options => ({
    ...{ interfaces: ['lo'], totalNodes: 8, hashSeed: 1, netns: node.path, rules: 'auto' },
    ...{ name: 'q0', offload: ['flows'], localNode: 1 },
    ...more,
  });
  const owned = async (node: Namespace): Promise<number[]> =>
    [...(await elements(node, 'owned-marks')).keys()].map((mark) => mark >>> 16);

  test('by revert() owns nothing in one that stands in its place', async () => {
    await using node = await Namespace.create();
    await using engine = await open(offloading(node));
    await revert({ name: 'q0', netns: node.path });
    await apply(offloading(node, { totalNodes: 9 }));
    await assert.rejects(engine.own('5'), { code: 'ERR_RULES', message: /gone/ });
    assert.deepEqual(engine.ownership.buckets, [0]);
    await engine.close();
    assert.deepEqual(await owned(node), []);
  });

  test('by apply() of the same goes on', async () => {
    await using node = await Namespace.create();
    await using engine = await open(offloading(node));
    await apply(offloading(node));
    await engine.setOwnership({ nodes: [5] });
    assert.deepEqual(await owned(node), [5]);
    await engine.setOwnership({ nodes: [5, 6] });
    assert.deepEqual(await owned(node), [5, 6]);
    await engine.close();
    assert.deepEqual(await owned(node), []);
  });
});
