/* The policy clusterip: what it hashes, its options, and its place on the command line. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { Hasher, type HasherOptions } from '../../src/hash.js';
import type { HashMode } from '../../src/options/types.js';
import { resolveOptions } from '../../src/options/resolve.js';
import { root } from '../support/processes.js';
import { random } from '../support/random.js';
import { refuses } from './expectations.js';

interface Row {
  hashMode: HashMode;
  totalNodes: number;
  hashSeed: number;
  packet: { src: string; protocol: number; sport: number; dport: number };
  node: number;
}

/** What the target CLUSTERIP of Linux 6.1 decided. */
function recorded(): Row[] {
  const file = path.join(root, 'test/vectors/clusterip-6.1.csv');
  const [header, ...lines] = readFileSync(file, 'utf8').trim().split('\n');
  assert.equal(header, 'hashmode,total,init,proto,src,sport,dport,node');
  return lines.map((line) => {
    const [hashMode, total, init, protocol, src, sport, dport, node] = line.split(',');
    return {
      hashMode: hashMode as HashMode,
      totalNodes: Number(total),
      hashSeed: Number(init),
      packet: {
        src: src!,
        protocol: Number(protocol),
        sport: Number(sport),
        dport: Number(dport),
      },
      node: Number(node),
    };
  });
}

const clusterip = (options: Partial<HasherOptions> = {}): Hasher =>
  new Hasher({ policy: 'clusterip', hashSeed: 0, totalNodes: 7, ...options });

describe('packets', () => {
  test('every node that a 6.1 kernel chose', () => {
    const rows = recorded();
    assert.equal(rows.length, 8640);
    const differing = rows.filter(
      ({ packet, node, ...options }) => clusterip(options).node(packet) !== node,
    );
    assert.deepEqual(differing, []);
  });

  test('an address alone is a packet without ports', () => {
    for (const hashMode of ['sourceip', 'sourceip-sourceport-destport'] as const) {
      const hasher = clusterip({ hashMode });
      const without = { src: '10.0.0.1', protocol: 1, sport: 80, dport: 81 };
      assert.equal(hasher.hash('10.0.0.1'), hasher.hash(without));
      assert.equal(hasher.hash(0x0a000001), hasher.hash(without));
      assert.equal(hasher.hash({ src: '10.0.0.1', protocol: 6 }), hasher.hash(without));
    }
  });

  test('many addresses as one by one', () => {
    const some = random('clusterip in bulk');
    const addresses = Uint32Array.from({ length: 3000 }, () => some.u32());
    for (const hashMode of ['sourceip', 'sourceip-sourceport'] as const) {
      const hasher = clusterip({ hashMode, hashSeed: 9 });
      const one = Uint16Array.from(addresses, (address) => hasher.bucket(address));
      assert.deepEqual(hasher.bucketsIpv4(addresses), one);
    }
  });

  test('another policy looks at the source alone', () => {
    const hasher = new Hasher({ hashSeed: 3, totalNodes: 7 });
    const packet = { src: '2001:db8::1', protocol: 6, sport: 1, dport: 2 };
    assert.equal(hasher.hash(packet), hasher.hash('2001:db8::1'));
  });

  test('explained', () => {
    const hasher = clusterip({ hashMode: 'sourceip-sourceport-destport' });
    const packet = { src: '198.51.100.77', protocol: 17, sport: 1111, dport: 2222 };
    const raw = (port: number): number =>
      new Uint16Array(Uint8Array.of(port >> 8, port).buffer)[0]!;
    assert.deepEqual(hasher.explain(packet), {
      policy: 'clusterip',
      hashMode: 'sourceip-sourceport-destport',
      hashSeed: 0,
      family: 4,
      words: [0xc633644d, raw(1111), raw(2222)],
      hash: hasher.hash(packet),
      buckets: 7,
      bucket: 1,
    });
  });

  test('IPv6, and what is no packet, are refused', () => {
    const hasher = clusterip();
    const expected =
      'an IPv4 address (text, a 32-bit number, or 4 bytes), since CLUSTERIP has no IPv6,';
    refuses(() => hasher.hash('::1'), { name: 'address', expected, value: '::1' });
    refuses(() => hasher.node({ src: '::1', protocol: 6 }), {
      name: 'packet.src',
      expected,
      value: '::1',
    });
    const records = new Uint8Array(16);
    const remedy = 'CLUSTERIP has no IPv6.';
    const bulk = { name: 'addresses', expected: 'nothing', value: records, remedy };
    refuses(() => hasher.bucketsIpv6(records), bulk);
    const port = 'an integer from 0 to 65535';
    for (const [name, value, what] of [
      ['protocol', 256, 'an integer from 0 to 255'],
      ['sport', -1, port],
      ['dport', 65_536, port],
      ['dport', '80', port],
    ] as const) {
      const packet = { src: '10.0.0.1', protocol: 6, [name]: value };
      refuses(() => hasher.hash(packet), { name, expected: what, value });
    }
  });
});

describe('options', () => {
  const resolve = (options: object) => () =>
    resolveOptions({ interfaces: ['eth0'], hashSeed: 1, policy: 'clusterip', ...options });
  const two = { totalNodes: 2, localNode: 1 };

  test('its own, with their defaults', () => {
    const { hashMode, strict, marks } = resolve(two)();
    assert.deepEqual([hashMode, strict, marks.bucket], ['sourceip', false, 0x03ff_0000]);
    assert.equal(resolve({ ...two, strict: true })().strict, true);
    assert.equal(resolve({ ...two, marks: { bucket: 0x30 << 16 } })().marks.bucket, 0x30 << 16);
    assert.equal(resolve({ ...two, policy: 'jhash' })().marks.bucket, 0);
  });

  test('no IPv6 address, for which every node would answer', () => {
    const sharing = (...addresses: string[]): object => ({
      ...two,
      interfaces: [{ name: 'eth0', mac: '03:00:00:00:00:02', addresses }],
    });
    const [entry] = resolve(sharing('192.0.2.10/24'))().interfaces;
    assert.equal(entry!.destinations, 'addresses');
    const both = resolve(sharing('192.0.2.10/24', '2001:db8::10/64'));
    assert.throws(both, { code: 'ERR_INVALID_OPTION', message: /"2001:db8::10\/64"/ });
  });

  test('its own, given to another policy', () => {
    const remedy = "It belongs to policy 'clusterip'.";
    for (const [name, option, value] of [
      ['hashMode', { hashMode: 'sourceip' }, 'sourceip'],
      ['strict', { strict: false }, false],
    ] as const) {
      const call = resolve({ ...two, policy: 'jhash', ...option });
      refuses(call, { name, expected: 'nothing', value, remedy });
    }
  });

  test('bucket bits that are not adjacent, too few, or not free', () => {
    const node = (mask: number, more: object = two) =>
      resolve({ ...more, marks: { bucket: mask } });
    const adjacent = 'adjacent bits, such as 0x03ff0000';
    for (const value of [0, 0x50000, 2 ** 32, -1]) {
      refuses(node(value), { name: 'marks.bucket', expected: adjacent, value });
    }
    assert.equal(node(0x0c00_0000)().marks.bucket, 0x0c00_0000);
    const four = { totalNodes: 4, localNode: 1 };
    const few = {
      name: 'marks.bucket',
      expected: 'bits for a number up to 4',
      value: 0x0c00_0000,
    };
    refuses(node(0x0c00_0000, four), few);
    const overlap = { name: 'marks', expected: 'bits that do not overlap' };
    refuses(node(0xc000), { ...overlap, value: { bucket: 0xc000 } });
    refuses(node(0xf000_0000), { ...overlap, value: { bucket: 0xf000_0000 } });
  });

  test('more nodes than the original, unless strict', () => {
    assert.equal(resolve({ totalNodes: 17, localNode: 17 })().buckets, 17);
    const expected = 'at most 16 (with strict)';
    const call = resolve({ totalNodes: 17, localNode: 1, strict: true });
    refuses(call, { name: 'totalNodes', expected, value: 17 });
    const local = resolve({ totalNodes: 16, localNode: 17, strict: true });
    refuses(local, { name: 'localNode', expected, value: 17 });
  });

  test('a local node above the total is refused, and strictly owns nothing', () => {
    const above = { totalNodes: 2, localNode: 3 };
    refuses(resolve(above), { name: 'localNode', expected: 'at most 2 (totalNodes)', value: 3 });
    assert.deepEqual(resolve({ ...above, strict: true })().owned, []);
    assert.deepEqual(resolve({ ...above, localNode: [1, 16], strict: true })().owned, [0]);
  });

  test('no nodes at all are refused, and strictly all belongs to node 1', () => {
    const none = { totalNodes: 0, localNode: 1 };
    const expected = 'an integer from 1 to 32';
    refuses(resolve(none), { name: 'totalNodes', expected, value: 0 });
    refuses(() => clusterip({ totalNodes: 0 }), { name: 'totalNodes', expected, value: 0 });
    const { buckets, owned } = resolve({ ...none, strict: true })();
    assert.deepEqual([buckets, owned], [1, [0]]);
    assert.deepEqual(resolve({ ...none, localNode: 2, strict: true })().owned, []);
  });
});

describe('the command line', () => {
  const cli = (args: string, input = '') => {
    const program = path.join(root, 'dist/cli/main.js');
    const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args.split(' ')], {
      input,
      encoding: 'utf8',
    });
    return { status, stdout, stderr };
  };

  test('hash prints the nodes that a 6.1 kernel chose', () => {
    const rows = recorded().filter(
      ({ totalNodes, hashSeed }) => totalNodes === 7 && hashSeed === 0xdeadbeef,
    );
    assert.ok(rows.length > 100);
    for (const mode of ['sourceip', 'sourceip-sourceport', 'sourceip-sourceport-destport']) {
      const ours = rows.filter(({ hashMode }) => hashMode === mode);
      const lines = ours.map(({ packet }) => Object.values(packet).join(','));
      const expected = ours.map(({ node }, at) => `${lines[at]!}\t${node - 1}\t${node}\n`).join('');
      const options = `--policy clusterip --hash-mode ${mode} --total-nodes 7 --hash-init 0xdeadbeef`;
      const result = cli(`hash ${options}`, lines.join('\n'));
      assert.deepEqual(result, { status: 0, stdout: expected, stderr: '' });
    }
  });

  test('hash names the line that it cannot read', () => {
    for (const bad of [
      '10.0.0.1',
      '10.0.0.1,6,1',
      '10.0.0.1,6,1,65536',
      '::1,6,1,1',
      '1.1.1.1,,,',
    ]) {
      const options = '--policy clusterip --cluster-total-nodes 2 --cluster-hash-seed 0';
      const { status, stdout, stderr } = cli(`hash ${options}`, `10.0.0.1,6,1,2\n${bad}\n`);
      assert.deepEqual([status, stdout], [1, '10.0.0.1,6,1,2\t0\t1\n']);
      assert.equal(
        stderr,
        `nfq-cluster: line 2: expected an IPv4 address, a protocol number and two ports, such as 10.0.0.1,17,1024,53, but received "${bad}"\n`,
      );
    }
  });

  test('explain shows one packet', () => {
    const options =
      '--policy clusterip --hashmode sourceip-sourceport-destport --total-nodes 7 --hash-init 0 --local-node 2';
    const packet = '--src 198.51.100.77 --proto 17 --sport 1111 --dport 2222';
    const json = cli(`explain ${options} ${packet} --json`);
    assert.equal(json.stderr, '');
    const { hashMode, node, local } = JSON.parse(json.stdout) as Record<string, unknown>;
    assert.deepEqual([hashMode, node, local], ['sourceip-sourceport-destport', 2, true]);
    const text = cli(`explain ${options} ${packet}`).stdout;
    assert.match(text, /^policy +clusterip, sourceip-sourceport-destport\nwords +0xc633644d /m);
    assert.match(text, /^node +2\nlocal +yes\n/m);
  });

  test('explain refuses what does not fit', () => {
    const two = '--total-nodes 2 --hash-init 0';
    assert.deepEqual(cli(`explain ${two} --src 10.0.0.1 --proto 6`), {
      status: 2,
      stdout: '',
      stderr: 'nfq-cluster: --proto, --sport and --dport belong to --dst or --policy clusterip\n',
    });
    assert.equal(
      cli(`explain --policy clusterip ${two} --src ::1`).stderr,
      'nfq-cluster: Expected an IPv4 address for --src but received "::1"\n',
    );
    const { status } = cli(`explain --policy clusterip ${two} --src 10.0.0.1 --proto 256`);
    assert.equal(status, 2);
  });
});
