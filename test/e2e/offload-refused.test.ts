/* What the kernel decides by itself where a change of it fails half-way, or comes late. */
import { fail, left, type Fate } from '../support/failing-nft.js';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { apply, open, revert, type Options } from '../../src/index.js';
import { Namespace } from '../../src/lab/namespaces.js';
import { boundQueues } from '../addon/lab.js';
import { elements } from '../support/elements.js';
import { stateOf } from '../support/state.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

const offloading = (node: Namespace, more: Partial<Options>): Options => ({
  interfaces: ['lo'],
  offload: ['flows'],
  totalNodes: 8,
  hashSeed: 1,
  netns: node.path,
  rules: 'auto',
  ...more,
});

describe('a change of what is offloaded that fails', { skip }, () => {
  const cases: { fates: Fate[]; back: boolean }[] = [
    { fates: ['refuse'], back: true },
    { fates: ['late', 'refuse'], back: true },
    { fates: ['late', 'refuse', 'late'], back: true },
    { fates: ['late', 'refuse', 'refuse'], back: false },
    { fates: ['late', 'refuse', 'late', 'refuse'], back: false },
  ];
  for (const { fates, back } of cases) {
    test(`by ${fates.join(', ')}, leaves ${back ? 'what was owned' : 'nothing'}`, async () => {
      await using node = await Namespace.create();
      const before = { nodes: [1], validFor: 600_000 };
      await using engine = await open(offloading(node, { ownership: before }));
      fail(...fates);
      const wanted = engine.setOwnership({ nodes: [5], validFor: 60_000 });
      await assert.rejects(wanted, { code: 'ERR_RULES', message: /told to refuse/ });
      assert.equal(left(), '');
      assert.deepEqual(engine.ownership.buckets, [0]);
      const owned = await elements(node, 'ending-marks');
      assert.deepEqual([...owned.keys()], back ? [0x10000] : []);
      for (const expires of owned.values()) assert.ok(expires < engine.ownership.validFor);
      await engine.setOwnership({ nodes: [5] });
      assert.deepEqual([...(await elements(node, 'owned-marks')).keys()], [0x50000]);
      assert.equal((await elements(node, 'ending-marks')).size, 0);
    });
  }

  test('puts back what has no end', async () => {
    await using node = await Namespace.create();
    await using engine = await open(offloading(node, { localNode: 1 }));
    fail('late', 'refuse');
    const wanted = engine.setOwnership({ nodes: [5], validFor: 60_000 });
    await assert.rejects(wanted, { code: 'ERR_RULES' });
    assert.deepEqual([...(await elements(node, 'owned-marks')).keys()], [0x10000]);
    assert.equal((await elements(node, 'ending-marks')).size, 0);
  });
});

describe('close()', { skip }, () => {
  test('removes the rules, although they could not be told to stop queueing', async () => {
    await using node = await Namespace.create();
    const before = await stateOf(node);
    await using engine = await open(offloading(node, { localNode: 1 }));
    fail('refuse');
    await engine.close();
    assert.equal(left(), '');
    assert.equal(await stateOf(node), before);
  });

  test('leaves a setup that stands with nothing owned, although it could not be told to stop queueing', async () => {
    await using node = await Namespace.create();
    const options = offloading(node, { localNode: 1 });
    await apply(options);
    await using engine = await open(options);
    assert.equal((await elements(node, 'owned-marks')).size, 1);
    fail('refuse');
    await engine.close();
    assert.equal(left(), '');
    assert.equal((await elements(node, 'owned-marks')).size, 0);
  });

  test('where it cannot remove them tells so, closed all the same, and revert() does', async () => {
    await using node = await Namespace.create();
    const before = await stateOf(node);
    const engine = await open(offloading(node, { localNode: 1 }));
    const closed = once(engine, 'close');
    fail('refuse', 'refuse');
    await assert.rejects(engine.close(), { code: 'ERR_RULES', message: /told to refuse/ });
    await closed;
    assert.deepEqual([left(), await boundQueues(node)], ['', []]);
    assert.notEqual(await stateOf(node), before);
    await revert({ netns: node.path });
    assert.equal(await stateOf(node), before);
  });
});

test(
  'a change of what is offloaded that the kernel refuses changes nothing',
  { skip },
  async () => {
    await using node = await Namespace.create();
    await using engine = await open(offloading(node, { localNode: 1 }));
    await node.run('nft', ['delete table inet nfq-cluster-q0']);
    await assert.rejects(engine.setOwnership({ nodes: [1, 2] }), { code: 'ERR_RULES' });
    assert.deepEqual(engine.ownership.buckets, [0]);
    await engine.close();
  },
);

test('open() that fails, and cannot remove its rules, tells so', { skip }, async () => {
  await using node = await Namespace.create();
  const before = await stateOf(node);
  const ownership = { nodes: [1], validFor: 600_000 };
  // The rules, what is owned, nothing in its place, that once more, and the removal.
  fail('late', 'refuse', 'refuse', 'refuse', 'refuse');
  const opening = open(offloading(node, { offload: ['sources'], conntrack: 'off', ownership }));
  await assert.rejects(opening, {
    code: 'ERR_RULES',
    message: /told to refuse.*could not be undone.*revert --name q0/s,
  });
  assert.equal(left(), '');
  await revert({ netns: node.path });
  assert.equal(await stateOf(node), before);
});

describe('the deadline of what is offloaded', { skip }, () => {
  test('is kept by changes that wait for each other', async () => {
    await using node = await Namespace.create();
    const ownership = { nodes: [1], validFor: 60_000 };
    await using engine = await open(offloading(node, { ownership }));
    const { validFor } = engine.ownership;
    const start = performance.now();
    fail('late');
    const changes = ['+2', '-2', '+3', '+4', '-3'].map((change) => engine.own(change));
    await Promise.all(changes);
    const expected = validFor - (performance.now() - start);
    assert.ok(Math.abs(engine.ownership.validFor - expected) < 50, `${expected}`);
    assert.deepEqual(engine.ownership.buckets, [0, 3]);
  });

  test('counts from the call where the change waits for its turn', async () => {
    await using node = await Namespace.create();
    await using engine = await open(offloading(node, { localNode: 1 }));
    const start = performance.now();
    fail('late');
    const [, last] = [{ nodes: [2] }, { nodes: [3], validFor: 60_000 }].map((ownership) =>
      engine.setOwnership(ownership),
    );
    await last;
    assert.ok(engine.ownership.validFor <= 60_000 - (performance.now() - start) + 50);
  });

  for (const validFor of [100_001_000, 3_199_999_999_999, Number.MAX_SAFE_INTEGER]) {
    test(`may be ${validFor} ms away`, async () => {
      await using node = await Namespace.create();
      await using engine = await open(offloading(node, { ownership: { nodes: [1], validFor } }));
      await engine.setOwnership({ nodes: [2], validFor });
      const ever = validFor === Number.MAX_SAFE_INTEGER;
      const owned = await elements(node, ever ? 'owned-marks' : 'ending-marks');
      assert.deepEqual([...owned.keys()], [0x20000]);
      const { validFor: remaining } = engine.ownership;
      if (ever) assert.equal(remaining, Infinity);
      else assert.ok(owned.get(0x20000)! > validFor - 60_000 && owned.get(0x20000)! < validFor);
    });
  }

  for (const fates of [
    ['slow', 'slow'],
    ['serve', 'slow', 'slow'],
  ] satisfies Fate[][]) {
    test(`is kept where nft takes longer than it is away: ${fates.join(', ')}`, async () => {
      await using node = await Namespace.create();
      await using engine = await open(offloading(node, { ownership: { nodes: [] } }));
      const deadline = performance.now() + 400;
      fail(...fates);
      const change = engine.setOwnership({ nodes: [1], validFor: 400 });
      for (const end = deadline + 800; performance.now() < end;) {
        const over = performance.now() > deadline;
        const { size } = await elements(node, 'ending-marks');
        assert.ok(!over || size === 0, 'something is owned after the deadline');
      }
      await change;
      assert.deepEqual([left(), engine.ownership.validFor], ['', 0]);
    });
  }
});
