/* The list of interfaces, and the options as a whole. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MAX_INTERFACES } from '../../src/options/limits.js';
import type { Options } from '../../src/options/types.js';
import { resolveOptions } from '../../src/options/resolve.js';
import { refuses, refusesUnknown } from './expectations.js';

const VALID: Options = { interfaces: ['eth0'], hashSeed: 1, totalNodes: 2, localNode: 1 };

const NOT_SHARED = { addresses: [], mac: undefined, group: undefined, destinations: 'all' };

const NAME =
  'an interface name: 1 to 15 characters without "/", quotes, white space or control characters';
const LIST = 'a non-empty list of interfaces';

describe('interfaces', () => {
  const given = (interfaces: unknown) => () => resolveOptions({ ...VALID, interfaces });

  test('a name alone is hashed by the source', () => {
    assert.deepEqual(
      given(['eth0', { name: 'eth1' }, { name: 'eth2', key: 'destination' }])().interfaces,
      [
        { name: 'eth0', key: 'source', ...NOT_SHARED },
        { name: 'eth1', key: 'source', ...NOT_SHARED },
        { name: 'eth2', key: 'destination', ...NOT_SHARED },
      ],
    );
  });

  test('names that Linux takes', () => {
    for (const name of ['a', 'br-lan.100', 'x'.repeat(15), 'wg_0', 'eth0:1', 'é', '...']) {
      assert.equal(given([name])().interfaces[0]?.name, name);
      assert.equal(given([{ name }])().interfaces[0]?.name, name);
    }
  });

  test('names that it does not', () => {
    for (const name of [
      '',
      '.',
      '..',
      'a/b',
      'a b',
      'a\tb',
      'x'.repeat(16),
      '"',
      "'",
      'eth0\0',
      1,
      null,
    ]) {
      const either = 'an interface name, or an object with name and key';
      refuses(given(['eth0', name]), { name: 'interfaces.1', expected: either, value: name });
      refuses(given([{ name }]), { name: 'interfaces.0.name', expected: NAME, value: name });
    }
  });

  test('other keys than source and destination', () => {
    for (const key of ['src', '', 1, null]) {
      const expected = 'one of "source", "destination"';
      refuses(given([{ name: 'eth0', key }]), { name: 'interfaces.0.key', expected, value: key });
    }
  });

  test('no list, an empty one, one too long, one with a name twice', () => {
    for (const value of [[], 'eth0', null, { 0: 'eth0' }]) {
      refuses(given(value), { name: 'interfaces', expected: LIST, value });
    }
    const many = Array.from({ length: MAX_INTERFACES + 1 }, (_, at) => `eth${at}`);
    assert.equal(given(many.slice(1))().interfaces.length, MAX_INTERFACES);
    refuses(given(many), { name: 'interfaces', expected: 'at most 64 interfaces', value: many });
    const twice = ['eth0', { name: 'eth0', key: 'destination' }];
    refuses(given(twice), { name: 'interfaces', expected: 'each interface once', value: twice });
  });
});

describe('options as a whole', () => {
  test('how packets return is up to rules that are installed', () => {
    for (const reinject of ['accept', 'repeat'] as const) {
      assert.equal(resolveOptions({ ...VALID, reinject }).reinject, reinject);
      refuses(() => resolveOptions({ ...VALID, reinject, rules: 'auto' }), {
        name: 'reinject',
        expected: 'nothing',
        value: reinject,
        remedy: "It belongs to rules of your own, rules 'none'.",
      });
    }
  });

  test('every default', () => {
    assert.deepEqual(resolveOptions(VALID), {
      queues: [0],
      queueCpuFanout: false,
      interfaces: [{ name: 'eth0', key: 'source', ...NOT_SHARED }],
      policy: 'jhash',
      hashMode: 'sourceip',
      strict: false,
      hashSeed: 1,
      buckets: 2,
      classic: true,
      owned: [0],
      validFor: Infinity,
      action: 'drop',
      marks: {
        owned: { value: 0xffff, mask: 0xffff },
        multicast: 0x4000_0000,
        decided: 0x8000_0000,
        direct: 0,
        bucket: 0,
      },
      conntrack: 'auto',
      helpers: true,
      offload: [],
      reinject: 'accept',
      rules: 'none',
      name: 'q0',
      queueLength: 16_384,
      receiveBuffer: 33_554_432,
      gather: 0,
      busyPoll: 0,
      realtime: 'auto',
      netns: undefined,
      control: 'none',
    });
  });

  test('no object', () => {
    for (const value of [undefined, null, [], 'x', 1, () => VALID]) {
      refuses(() => resolveOptions(value), {
        name: 'options',
        expected: 'an object of options',
        value,
      });
    }
  });

  test('what is mandatory is said so', () => {
    const without = (name: string) => () => resolveOptions({ ...VALID, [name]: undefined });
    const value = undefined;
    refuses(without('hashSeed'), {
      name: 'hashSeed',
      expected: 'an integer from 0 to 0xffffffff',
      value,
      remedy: 'The option hashSeed is mandatory.',
    });
    refuses(without('interfaces'), {
      name: 'interfaces',
      expected: LIST,
      value,
      remedy: 'The option interfaces is mandatory.',
    });
  });

  test('a misspelt option, at any depth, names the right one', () => {
    const misspelt: readonly [unknown, string, string][] = [
      [{ hasSeed: 1 }, 'hasSeed', 'hashSeed'],
      [{ hashSeed: undefined, hashseed: 1 }, 'hashseed', 'hashSeed'],
      [{ queue: [0] }, 'queue', 'queues'],
      [{ localNodeMask: 1 }, 'localNodeMask', 'localNodemask'],
      [{ marks: { multicst: 1 } }, 'marks.multicst', 'multicast'],
      [{ marks: { owned: { value: 1, msk: 1 } } }, 'marks.owned.msk', 'mask'],
      [{ ownership: { bucket: [0] } }, 'ownership.bucket', 'buckets'],
      [{ interfaces: [{ name: 'eth0', kye: 'source' }] }, 'interfaces.0.kye', 'key'],
      [{ interfaces: [{ nam: 'eth0' }] }, 'interfaces.0.nam', 'name'],
    ];
    for (const [options, name, right] of misspelt) {
      const call = () => resolveOptions({ ...VALID, ...(options as object) });
      refusesUnknown(call, name, `Did you mean ${right}?`);
    }
  });

  test('an option that is like no other gets the list of them', () => {
    const call = () => resolveOptions({ ...VALID, marks: { somethingElse: 1 } });
    refusesUnknown(
      call,
      'marks.somethingElse',
      'Known here: owned, multicast, decided, direct, bucket.',
    );
  });

  test("queues by processors need several, and rules that are not the user's own", () => {
    const given = (more: object) => () =>
      resolveOptions({ ...VALID, queueCpuFanout: true, queues: [4, 5], rules: 'nft', ...more });
    assert.equal(given({})().queueCpuFanout, true);
    const refused = { name: 'queueCpuFanout', value: true };
    refuses(given({ queues: [4] }), {
      ...refused,
      expected: 'false where there is one queue',
      remedy: 'Give a queue for each processor that handles packets.',
    });
    refuses(given({ rules: undefined }), {
      ...refused,
      expected: 'false where rules is "none"',
      remedy:
        'Give it to your own rule: "--queue-balance 4:5 --queue-cpu-fanout", or nft\'s "queue num 4-5 fanout".',
    });
    for (const more of [{ queues: [4] }, { rules: 'none' }])
      assert.equal(given({ ...more, queueCpuFanout: false })().queueCpuFanout, false);
  });

  test('what cannot be read is refused, and what is far too long at once', () => {
    const reason = new Error('not now');
    const get = (): never => {
      throw reason;
    };
    for (const given of [
      Object.defineProperty({ ...VALID }, 'queues', { enumerable: true, get }),
      new Proxy({ ...VALID }, { ownKeys: get }),
      { ...VALID, marks: { owned: new Proxy({}, { get }) } },
    ]) {
      const cannot = {
        code: 'ERR_INVALID_OPTION',
        message: /read options: not now$/,
        cause: reason,
      };
      assert.throws(() => resolveOptions(given), cannot);
    }
    for (const name of ['queues', 'localNode', 'offload']) {
      const given = { ...VALID, [name]: Array(2 ** 32 - 1) };
      assert.throws(() => resolveOptions(given), { code: 'ERR_INVALID_OPTION' });
    }
  });

  test('what they are given is left as it was', () => {
    const queues = Object.freeze([3, 1, 2]);
    const resolved = resolveOptions(Object.freeze({ ...VALID, queues }));
    assert.deepEqual(resolved.queues, [1, 2, 3]);
    assert.equal(resolved.name, 'q1');
  });
});
