/* Addresses to hashes, buckets and nodes. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { runInNewContext } from 'node:vm';
import { Hasher, type HasherOptions } from '../../src/hash.js';
import { bytes } from '../support/packets.js';
import { random } from '../support/random.js';
import { refuses, refusesUnknown } from './expectations.js';

/** What the kernel's `cluster` match makes of a source: its hash, and its node of 2, 3, 8 and 32. */
const KERNEL: readonly [string, seed: number, hash: number, nodes: number[]][] = [
  ['10.0.0.1', 0, 0x2fa5f781, [1, 1, 2, 6]],
  ['10.0.0.1', 0xdeadbeef, 0x52e26e5d, [1, 1, 3, 11]],
  ['192.0.2.1', 0, 0xb3bcb8d1, [2, 3, 6, 23]],
  ['192.0.2.1', 0xdeadbeef, 0xda05219e, [2, 3, 7, 28]],
  ['2001:db8::1', 0, 0xaa846c4a, [2, 2, 6, 22]],
  ['2001:db9::1', 0, 0x610cf6bc, [1, 2, 4, 13]],
];

describe('one address', () => {
  for (const [source, hashSeed, hash, nodes] of KERNEL) {
    test(`${source} with seed ${hashSeed} as the kernel's match`, () => {
      [2, 3, 8, 32].forEach((totalNodes, at) => {
        const hasher = new Hasher({ policy: 'xt_cluster', hashSeed, totalNodes });
        assert.equal(hasher.hash(source), hash);
        assert.equal(hasher.node(source), nodes[at]);
        assert.equal(hasher.bucket(source), nodes[at]! - 1);
      });
    });
  }

  test('both policies agree on IPv4, and not on IPv6', () => {
    const [jhash, cluster] = (['jhash', 'xt_cluster'] as const).map(
      (policy) => new Hasher({ policy, hashSeed: 5, totalNodes: 4 }),
    ) as [Hasher, Hasher];
    assert.equal(jhash.hash('192.0.2.1'), cluster.hash('192.0.2.1'));
    assert.notEqual(jhash.hash('2001:db8::1'), cluster.hash('2001:db8::1'));
    assert.equal(cluster.hash('2001:db8::1'), cluster.hash('2001:db8:1:2:3:4:5:6'));
    assert.notEqual(jhash.hash('2001:db8::1'), jhash.hash('2001:db8:1:2:3:4:5:6'));
  });

  test('text, a number and bytes are one address', () => {
    const hasher = new Hasher({ hashSeed: 0, buckets: 1023 });
    const some = random('spellings');
    for (let round = 0; round < 500; round += 1) {
      const number = some.u32();
      const octets = Buffer.alloc(4);
      octets.writeUInt32BE(number);
      const text = [...octets].join('.');
      assert.equal(hasher.hash(number), hasher.hash(text), text);
      assert.equal(hasher.hash(new Uint8Array(octets)), hasher.hash(text), text);
      for (const address of [some.ipv4(), some.ipv6()]) {
        assert.equal(hasher.hash(bytes(address)), hasher.hash(address), address);
      }
    }
  });

  test('every spelling of an IPv6 address', () => {
    const hasher = new Hasher({ hashSeed: 0, buckets: 1023 });
    const spellings = [
      '2001:db8::a',
      '2001:DB8::A',
      '2001:0db8:0:0:0:0:0:000a',
      '2001:db8::0.0.0.10',
    ];
    assert.equal(new Set(spellings.map((text) => hasher.hash(text))).size, 1);
    assert.notEqual(hasher.hash('::ffff:10.0.0.1'), hasher.hash('10.0.0.1'));
  });

  test('the ends of the range', () => {
    const hasher = new Hasher({ hashSeed: 0xffff_ffff, buckets: 1 });
    for (const address of [
      0,
      0xffff_ffff,
      '0.0.0.0',
      '255.255.255.255',
      '::',
      `${'ffff:'.repeat(7)}ffff`,
    ]) {
      assert.equal(hasher.bucket(address), 0);
      assert.equal(hasher.node(address), 1);
      const hash = hasher.hash(address);
      assert.ok(Number.isInteger(hash) && hash >= 0 && hash <= 0xffff_ffff);
    }
  });

  test('what is no address', () => {
    const hasher = new Hasher({ hashSeed: 0, totalNodes: 2 });
    const expected = 'an IPv4 or IPv6 address (text, a 32-bit number, or 4 or 16 bytes)';
    const wrong: readonly unknown[] = [
      ...[
        '',
        ' 10.0.0.1',
        '10.0.0.1 ',
        '10.0.0',
        '10.0.0.256',
        '010.0.0.1',
        '10.0.0.1/32',
        '0x0a000001',
      ],
      ...[
        '167772161',
        ':',
        ':::',
        '1:2:3:4:5:6:7',
        '1:2:3:4:5:6:7:8:9',
        'fe80::1%eth0',
        '[::1]',
        'g::',
      ],
      ...['10.0.0.1\0', '10.0.0.1\0x', '::1\0', 'localhost', 'x'.repeat(1000)],
      ...[
        -1,
        1.5,
        2 ** 32,
        NaN,
        Infinity,
        -Infinity,
        10n,
        null,
        undefined,
        true,
        {},
        Symbol('x'),
        () => 1,
      ],
      ...[
        [10, 0, 0, 1],
        new Uint8Array(0),
        new Uint8Array(5),
        new Uint8Array(15),
        new Uint8Array(17),
      ],
      ...[
        new Uint16Array(2),
        new Uint32Array(1),
        new DataView(new ArrayBuffer(4)),
        new ArrayBuffer(4),
      ],
    ];
    for (const value of wrong) {
      for (const method of ['hash', 'bucket', 'node', 'explain'] as const) {
        refuses(() => hasher[method](value as string), { name: 'address', expected, value });
      }
    }
  });
});

describe('many addresses at once', () => {
  const options: readonly HasherOptions[] = [
    { hashSeed: 0, totalNodes: 1 },
    { hashSeed: 0xdeadbeef, totalNodes: 32, policy: 'xt_cluster' },
    { hashSeed: 7, buckets: 1023 },
  ];
  const some = random('bulk');
  const ipv4 = Uint32Array.from({ length: 3000 }, () => some.u32());
  const ipv6 = Uint8Array.from({ length: 16 * 3000 }, () => some.u32() & 0xff);

  test('IPv4 as one by one', () => {
    for (const hasher of options.map((option) => new Hasher(option))) {
      assert.deepEqual(
        hasher.bucketsIpv4(ipv4),
        Uint16Array.from(ipv4, (address) => hasher.bucket(address)),
      );
    }
  });

  test('IPv6 as one by one', () => {
    for (const hasher of options.map((option) => new Hasher(option))) {
      const single = Uint16Array.from({ length: 3000 }, (_, at) =>
        hasher.bucket(ipv6.subarray(16 * at, 16 * at + 16)),
      );
      assert.deepEqual(hasher.bucketsIpv6(ipv6), single);
    }
  });

  test('into an array of the caller, whose rest is left alone', () => {
    const hasher = new Hasher({ hashSeed: 0, totalNodes: 2 });
    const out = new Uint16Array(5).fill(777);
    assert.equal(hasher.bucketsIpv4(ipv4.subarray(0, 3), out), out);
    assert.deepEqual([...out.subarray(3)], [777, 777]);
    assert.equal(hasher.bucketsIpv6(ipv6.subarray(0, 16), out), out);
    assert.deepEqual([...out.subarray(3)], [777, 777]);
  });

  test('from parts of larger arrays', () => {
    const hasher = new Hasher({ hashSeed: 0, buckets: 1000 });
    assert.deepEqual(hasher.bucketsIpv4(ipv4.subarray(5, 9)), hasher.bucketsIpv4(ipv4).slice(5, 9));
    assert.deepEqual(
      hasher.bucketsIpv6(ipv6.subarray(16, 48)),
      hasher.bucketsIpv6(ipv6).slice(1, 3),
    );
  });

  test('of another realm, as in a context of vm', () => {
    const hasher = new Hasher({ hashSeed: 0, buckets: 1000 });
    const [of4, of6, out] = runInNewContext(
      '[Uint32Array.of(0xc0000201), new Uint8Array(16), new Uint16Array(1)]',
    ) as [Uint32Array, Uint8Array, Uint16Array];
    assert.equal(hasher.bucketsIpv4(of4, out), out);
    assert.equal(out[0], hasher.bucket('192.0.2.1'));
    assert.equal(hasher.bucketsIpv6(of6)[0], hasher.bucket('::'));
  });

  test('none at all', () => {
    const hasher = new Hasher({ hashSeed: 0, totalNodes: 2 });
    assert.equal(hasher.bucketsIpv4(new Uint32Array()).length, 0);
    assert.equal(hasher.bucketsIpv6(new Uint8Array()).length, 0);
  });

  test('what is not an array of addresses, or too short to write to', () => {
    const hasher = new Hasher({ hashSeed: 0, totalNodes: 2 });
    const fake = Object.create(Uint32Array.prototype) as object;
    for (const value of [undefined, null, [1], new Int32Array(1), new Uint8Array(4), 'x', fake]) {
      const call = () => hasher.bucketsIpv4(value as unknown as Uint32Array);
      refuses(call, { name: 'addresses', expected: 'a Uint32Array', value });
    }
    for (const value of [
      undefined,
      [1],
      new Uint8Array(15),
      new Uint8Array(17),
      new Uint16Array(16),
    ]) {
      const call = () => hasher.bucketsIpv6(value as unknown as Uint8Array);
      const expected = 'a Uint8Array of whole 16-byte records';
      refuses(call, { name: 'addresses', expected, value });
    }
    for (const value of [null, [], new Uint16Array(1), new Uint32Array(2)]) {
      const out = value as Uint16Array;
      const expected = 'a Uint16Array of at least 2';
      refuses(() => hasher.bucketsIpv4(new Uint32Array(2), out), { name: 'out', expected, value });
      refuses(() => hasher.bucketsIpv6(new Uint8Array(32), out), { name: 'out', expected, value });
    }
  });
});

describe('counts of a range', () => {
  test('as of its buckets, to the last address', () => {
    const first = 2 ** 32 - 10_000;
    const addresses = Uint32Array.from({ length: 10_000 }, (_, index) => first + index);
    for (const buckets of [1, 3, 32, 33, 1023]) {
      const hasher = new Hasher({ hashSeed: 7, buckets });
      const expected = new Float64Array(buckets);
      for (const bucket of hasher.bucketsIpv4(addresses)) expected[bucket]! += 1;
      assert.deepEqual(hasher.countIpv4(first), expected);
      assert.deepEqual(hasher.countIpv4(first, 0), new Float64Array(buckets));
    }
  });

  test('what is no range of addresses', () => {
    const hasher = new Hasher({ hashSeed: 0, totalNodes: 2 });
    for (const first of [-1, 0.5, 2 ** 32, NaN, '1' as unknown as number]) {
      const expected = 'an IPv4 address as a 32-bit number';
      refuses(() => hasher.countIpv4(first, 1), { name: 'first', expected, value: first });
    }
    for (const first of [5n, null] as unknown as number[])
      assert.throws(() => hasher.countIpv4(first), { code: 'ERR_INVALID_OPTION' });
    for (const count of [-1, 0.5, 257, Infinity, '1' as unknown as number]) {
      const expected = 'an integer from 0 to 256';
      refuses(() => hasher.countIpv4(2 ** 32 - 256, count), {
        name: 'count',
        expected,
        value: count,
      });
    }
  });
});

describe('an explanation', () => {
  test('of an IPv4 address', () => {
    const hasher = new Hasher({ policy: 'xt_cluster', hashSeed: 0, totalNodes: 32 });
    const expected = {
      policy: 'xt_cluster',
      hashSeed: 0,
      family: 4,
      words: [new Uint32Array(new Uint8Array([10, 0, 0, 1]).buffer)[0]],
      hash: 0x2fa5f781,
      buckets: 32,
      bucket: 5,
    };
    for (const address of ['10.0.0.1', 0x0a000001, new Uint8Array([10, 0, 0, 1])]) {
      assert.deepEqual(hasher.explain(address), expected);
    }
  });

  test('of an IPv6 address: all its words, or the first alone', () => {
    const words = [...new Uint32Array(new Uint8Array(bytes('2001:db8::1')).buffer)];
    for (const address of ['2001:db8::1', new Uint8Array(bytes('2001:db8::1'))]) {
      const whole = new Hasher({ hashSeed: 0, buckets: 8 }).explain(address);
      assert.deepEqual([whole.family, whole.words, whole.policy], [6, words, 'jhash']);
      const first = new Hasher({ policy: 'xt_cluster', hashSeed: 0, totalNodes: 8 }).explain(
        address,
      );
      assert.deepEqual([first.family, first.words], [6, words.slice(0, 1)]);
    }
  });
});

describe('the options of a hasher', () => {
  test('are kept, and the number of buckets is one of two', () => {
    const hasher = new Hasher({ hashSeed: 3, totalNodes: 4 });
    assert.deepEqual([hasher.policy, hasher.hashSeed, hasher.buckets], ['jhash', 3, 4]);
    assert.equal(new Hasher({ hashSeed: 3, buckets: 1023 }).buckets, 1023);
  });

  test('neither or both of totalNodes and buckets', () => {
    for (const sizes of [{}, { totalNodes: 2, buckets: 2 }]) {
      const call = () => new Hasher({ hashSeed: 0, ...sizes });
      refuses(call, { name: 'totalNodes', expected: 'either totalNodes or buckets', value: sizes });
    }
  });

  test('wrong or unknown ones', () => {
    const made = (options: unknown) => () => new Hasher(options as HasherOptions);
    refuses(made(undefined), {
      name: 'options',
      expected: 'an object of options',
      value: undefined,
    });
    refuses(made({ hashSeed: -1, totalNodes: 2 }), {
      name: 'hashSeed',
      expected: 'an integer from 0 to 0xffffffff',
      value: -1,
    });
    refuses(made({ hashSeed: 1, totalNodes: 33 }), {
      name: 'totalNodes',
      expected: 'an integer from 1 to 32',
      value: 33,
    });
    refuses(made({ hashSeed: 1, buckets: 0 }), {
      name: 'buckets',
      expected: 'an integer from 1 to 1023',
      value: 0,
    });
    refusesUnknown(made({ hashSeed: 1, totalNode: 2 }), 'totalNode', 'Did you mean totalNodes?');
  });
});
