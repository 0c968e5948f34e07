import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { findConnection, type Tuple } from '../../src/conntrack.js';
import { resolveOptions } from '../../src/options/resolve.js';
import { refuses } from './expectations.js';

const resolve = (options: object) => () =>
  resolveOptions({ interfaces: ['eth0'], hashSeed: 1, totalNodes: 2, localNode: 1, ...options });

const CLUSTERIP = "Policy 'clusterip' hashes every packet by its own header.";
const INSIDE = "A gateway with key 'destination' (eth1) hashes every packet by its own header.";
const inside = { interfaces: ['eth0', { name: 'eth1', key: 'destination' }] };

describe('conntrack', () => {
  test('is chosen later where it is auto, and off where the packet alone is hashed', () => {
    assert.equal(resolve({})().conntrack, 'auto');
    assert.equal(resolve({ policy: 'clusterip' })().conntrack, 'off');
    assert.equal(resolve({ ...inside, conntrack: 'auto' })().conntrack, 'off');
    assert.equal(resolve({ ...inside, conntrack: 'off' })().conntrack, 'off');
    for (const conntrack of ['queue', 'netlink', 'off']) {
      assert.equal(resolve({ conntrack })().conntrack, conntrack);
    }
  });

  test('is refused where the packet alone is hashed', () => {
    const expected = '"auto" or "off"';
    for (const value of ['queue', 'netlink', 'mark']) {
      const given = { name: 'conntrack', expected, value };
      refuses(resolve({ policy: 'clusterip', conntrack: value }), { ...given, remedy: CLUSTERIP });
      refuses(resolve({ ...inside, conntrack: value }), { ...given, remedy: INSIDE });
    }
  });

  test('by mark needs rules', () => {
    refuses(resolve({ conntrack: 'mark' }), {
      name: 'conntrack',
      expected: 'something other than "mark" where rules is "none"',
      value: 'mark',
      remedy: "Set rules to something other than 'none': the rules have to store the bucket.",
    });
    assert.equal(resolve({ conntrack: 'mark', rules: 'nft' })().conntrack, 'mark');
  });

  test('is one of its words', () => {
    const expected = 'one of "auto", "queue", "netlink", "mark", "off"';
    for (const value of ['', 'Queue', true, null]) {
      refuses(resolve({ conntrack: value }), { name: 'conntrack', expected, value });
    }
  });
});

describe('offload', () => {
  test('is nothing, or a list of its words', () => {
    assert.deepEqual(resolve({ rules: 'auto' })().offload, []);
    for (const offload of [['flows'], ['sources'], ['sources', 'flows']]) {
      assert.deepEqual(resolve({ rules: 'auto', offload })().offload, offload);
    }
    const expected = 'a list of "flows" and "sources", each at most once';
    for (const value of ['flows', ['flow'], ['flows', 'flows'], Array(1)]) {
      refuses(resolve({ rules: 'auto', offload: value }), { name: 'offload', expected, value });
    }
  });

  test('is of sources alone where no connection is followed', () => {
    const expected = '"sources" alone where conntrack is off';
    for (const value of [['flows'], ['sources', 'flows']]) {
      const given = { rules: 'auto', offload: value };
      const refused = { name: 'offload', expected, value };
      const remedy = "Set conntrack to 'auto'.";
      refuses(resolve({ ...given, conntrack: 'off' }), { ...refused, remedy });
      refuses(resolve({ ...given, ...inside }), { ...refused, remedy: INSIDE });
    }
    const sources = { rules: 'auto', offload: ['sources'] };
    assert.deepEqual(resolve({ ...sources, conntrack: 'off' })().offload, ['sources']);
    const { conntrack, offload } = resolve({ ...sources, ...inside })();
    assert.deepEqual([conntrack, offload], ['off', ['sources']]);
  });

  test('is nothing with policy clusterip', () => {
    for (const value of [['flows'], ['sources']]) {
      refuses(resolve({ rules: 'auto', offload: value, policy: 'clusterip' }), {
        name: 'offload',
        expected: "an empty list with policy 'clusterip'",
        value,
        remedy: CLUSTERIP,
      });
    }
  });

  test('needs rules', () => {
    const value = ['flows'];
    refuses(resolve({ offload: value }), {
      name: 'offload',
      expected: 'an empty list where rules is "none"',
      value,
      remedy: "Set rules to something other than 'none': the rules have to store the bucket.",
    });
  });
});

describe('the mark bits of a connection', () => {
  const marks = (options: object) => resolve(options)().marks;

  test('are there where something uses them', () => {
    const none = marks({});
    assert.deepEqual([none.direct, none.bucket], [0, 0]);
    const ruled = marks({ rules: 'auto' });
    assert.deepEqual([ruled.direct, ruled.bucket], [0x2000_0000, 0]);
    const carried = [0x2000_0000, 0x03ff_0000];
    const { direct, bucket } = marks({ rules: 'auto', conntrack: 'mark' });
    assert.deepEqual([direct, bucket], carried);
    const offloaded = marks({ rules: 'auto', offload: ['flows'] });
    assert.deepEqual([offloaded.direct, offloaded.bucket], carried);
    assert.equal(marks({ rules: 'auto', conntrack: 'off' }).direct, 0);
    const stateless = marks({ rules: 'auto', conntrack: 'off', offload: ['sources'] });
    assert.deepEqual([stateless.direct, stateless.bucket], [0, 0]);
    assert.equal(marks({ marks: { direct: 0x0100_0000 } }).direct, 0x0100_0000);
  });

  test('are refused where nothing does', () => {
    const expected = 'nothing';
    refuses(resolve({ marks: { bucket: 0x30000 } }), {
      name: 'marks.bucket',
      expected,
      value: 0x30000,
      remedy:
        "It belongs to policy 'clusterip', to conntrack 'mark', and to offload where connections are followed.",
    });
    refuses(resolve({ conntrack: 'off', marks: { direct: 1 << 20 } }), {
      name: 'marks.direct',
      expected,
      value: 1 << 20,
      remedy: 'It has a use only where conntrack is not off.',
    });
  });
});

test('a connection is asked for by a tuple, and in a network namespace', async () => {
  const tuple = { src: '10.0.0.1', dst: '10.0.0.2', protocol: 6 };
  const wrong: [unknown, unknown, RegExp][] = [
    [null, undefined, /Expected an object with src, dst and protocol for tuple but received null/],
    [{ ...tuple, src: '::1' }, undefined, /src and dst of one family/],
    [
      { ...tuple, src: 'fe80::1%lo', dst: 'fe80::2' },
      undefined,
      /for src but received "fe80::1%lo"/,
    ],
    [tuple, 5, /for netns but received 5/],
    [tuple, '', /for netns but received ""/],
  ];
  for (const [given, netns, message] of wrong) {
    const asked = findConnection(given as Tuple, netns as string);
    await assert.rejects(asked, { code: 'ERR_INVALID_OPTION', message });
  }
});
