import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

/** As built: that is what users run. */
const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** Runs the program to its end. */
function cli(line: string, input = ''): { status: number | null; stdout: string; stderr: string } {
  const args = line === '' ? [] : line.split(' ');
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], {
    input,
    encoding: 'utf8',
    maxBuffer: 2 ** 30,
  });
  return { status, stdout, stderr };
}

const ok = (stdout: string) => ({ status: 0, stdout, stderr: '' });
const TWO = '--cluster-total-nodes 2 --cluster-hash-seed 0';

it('tells a missing addon, and what to do, in one line', () => {
  const env = { ...process.env, NFQ_CLUSTER_PREBUILD: '/nonexistent' };
  const { status, stderr } = spawnSync(process.execPath, [MAIN], { env, encoding: 'utf8' });
  assert.equal(status, 1);
  assert.match(stderr, /^nfq-cluster: The native addon .* cannot be loaded\. Build it with .*\n$/);
});

describe('nfq-cluster hash', () => {
  it('prints address, bucket and node', () => {
    const input = '10.0.0.1\n192.0.2.1\n2001:db8::1\n';
    assert.deepEqual(
      cli(`hash ${TWO} --policy xt_cluster`, input),
      ok('10.0.0.1\t0\t1\n192.0.2.1\t1\t2\n2001:db8::1\t1\t2\n'),
    );
  });

  it('hashes all of an IPv6 address by default', () => {
    assert.deepEqual(
      cli(`hash ${TWO}`, '10.0.0.1\n2001:db8::1\n'),
      ok('10.0.0.1\t0\t1\n2001:db8::1\t0\t1\n'),
    );
  });

  it('takes line ends of Windows, and a last line without one', () => {
    assert.deepEqual(
      cli(`hash ${TWO}`, '10.0.0.1\r\n192.0.2.1'),
      ok('10.0.0.1\t0\t1\n192.0.2.1\t1\t2\n'),
    );
  });

  it('takes nothing', () => {
    assert.deepEqual(cli(`hash ${TWO}`, ''), ok(''));
  });

  it('prints no node where buckets are fine-grained', () => {
    assert.deepEqual(
      cli('hash --buckets 1023 --cluster-hash-seed 0', '10.0.0.1\n'),
      ok(`10.0.0.1\t${Math.floor((0x2fa5f781 * 1023) / 2 ** 32)}\n`),
    );
  });

  it('ends at a bad line, with its number and what came before', () => {
    for (const [bad, shown] of [
      ['10.0.0', '"10.0.0"'],
      ['', '""'],
      ['10.0.0.1 ', '"10.0.0.1 "'],
      ['fe80::1%eth0', '"fe80::1%eth0"'],
    ] as const) {
      assert.deepEqual(cli(`hash ${TWO}`, `10.0.0.1\n192.0.2.1\n${bad}\n10.0.0.1\n`), {
        status: 1,
        stdout: '10.0.0.1\t0\t1\n192.0.2.1\t1\t2\n',
        stderr: `nfq-cluster: line 3: expected an IPv4 or IPv6 address but received ${shown}\n`,
      });
    }
  });

  it('does not gather what has no line ends', () => {
    const { status, stdout, stderr } = cli(`hash ${TWO}`, '1'.repeat(10_000_000));
    assert.deepEqual([status, stdout], [1, '']);
    assert.match(
      stderr,
      /^nfq-cluster: line 1: expected an IPv4 or IPv6 address but received "1{50,60}\.\.\.\n$/,
    );
  });

  it('agrees with a recorded kernel', () => {
    const recorded = readFileSync(
      new URL('../vectors/xt_cluster-6.1.csv', import.meta.url),
      'utf8',
    );
    const rows = new Map<string, { sources: string; expected: string }>();
    for (const [, total, seed, source, node] of recorded
      .trim()
      .split('\n')
      .slice(1)
      .map((row) => row.split(','))) {
      if (total !== '3' && total !== '32') continue;
      const options = `--cluster-total-nodes ${total} --cluster-hash-seed ${seed!}`;
      const { sources, expected } = rows.get(options) ?? { sources: '', expected: '' };
      rows.set(options, {
        sources: `${sources}${source!}\n`,
        expected: `${expected}${source!}\t${Number(node) - 1}\t${node!}\n`,
      });
    }
    assert.equal(rows.size, 8);
    for (const [options, { sources, expected }] of rows) {
      assert.deepEqual(cli(`hash --policy xt_cluster ${options}`, sources), ok(expected));
    }
  });

  it('takes a million lines in seconds', () => {
    const lines = Array.from({ length: 1_000_000 }, (_, index) =>
      index % 2 === 0
        ? `10.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`
        : `2001:db8::${index.toString(16).slice(0, 4)}`,
    );
    const start = performance.now();
    const { status, stdout } = cli(`hash ${TWO}`, `${lines.join('\n')}\n`);
    const seconds = (performance.now() - start) / 1000;
    assert.equal(status, 0);
    assert.equal(stdout.split('\n').length, 1_000_001);
    assert.ok(seconds < 15, `${seconds} s`);
  });

  it('answers while its input is still open, and ends quietly when nobody reads', async () => {
    const child = spawn(process.execPath, [MAIN, 'hash', ...TWO.split(' ')], {
      stdio: 'pipe',
    });
    child.stdin.on('error', () => undefined);
    let stderr = '';
    child.stderr.on('data', (text) => (stderr += String(text)));
    child.stdin.write('10.0.0.1\n');
    assert.equal(String((await once(child.stdout, 'data'))[0]), '10.0.0.1\t0\t1\n');
    child.stdout.destroy();
    const closed = once(child, 'close');
    const more = setInterval(() => child.stdin.write('10.0.0.1\n'.repeat(1000)), 10);
    assert.deepEqual(await closed, [0, null]);
    assert.equal(stderr, '');
    clearInterval(more);
  });
});

describe('a full disk', () => {
  it('is a failure with its reason', () => {
    for (const command of ['hash', 'explain --src 10.0.0.1']) {
      const line = `echo 10.0.0.1 | "$0" "$1" ${command} ${TWO} >/dev/full`;
      const args = ['-c', line, process.execPath, MAIN];
      const { status, stderr } = spawnSync('sh', args, { encoding: 'utf8' });
      assert.equal(status, 1);
      assert.match(stderr, /^nfq-cluster: cannot write: .*ENOSPC.*\n$/);
    }
  });
});

describe('nfq-cluster import', () => {
  it('says where one file is not for one run', () => {
    const ofNodes = (on: string, nodes: number): string =>
      `-A PREROUTING -i ${on} -m cluster --cluster-total-nodes ${nodes} --cluster-local-node 1 --cluster-hash-seed 1 -j ACCEPT\n`;
    const several = /2 configurations: put each into a file of its own/;
    const drop = '-A PREROUTING -j DROP\n';
    assert.match(cli('import', ofNodes('eth1', 2) + ofNodes('eth2', 3) + drop).stderr, several);
    assert.doesNotMatch(cli('import', ofNodes('eth1', 2) + drop).stderr, several);
  });
});

describe('nfq-cluster explain', () => {
  it('shows every step', () => {
    assert.deepEqual(
      cli(`explain --src 10.0.0.1 ${TWO} --cluster-local-node 1`),
      ok(`address   10.0.0.1 (IPv4)
policy    jhash
words     0x0100000a
seed      0x00000000
hash      0x2fa5f781
bucket    0 of 2
node      1
local     yes
`),
    );
  });

  it('knows inversion, masks, fine-grained buckets, and what it is not told', () => {
    const local = (line: string) =>
      /^local {5}(.*)$/m.exec(cli(`explain --src 10.0.0.1 ${line}`).stdout)![1];
    assert.equal(local(`${TWO} ! --cluster-local-node 1`), 'no');
    assert.equal(local(`${TWO} --invert --cluster-local-node=1`), 'no');
    assert.equal(local(`${TWO} ! --cluster-local-nodemask 2`), 'yes');
    assert.equal(local('--buckets 8 --cluster-hash-seed 0 --own 0-3'), 'yes');
    assert.equal(local(TWO), 'unknown: no local node was named');
  });

  it('prints JSON', () => {
    const { stdout } = cli(
      `explain --src 2001:db8::1 ${TWO} --policy xt_cluster --cluster-local-node 1 --json`,
    );
    assert.deepEqual(JSON.parse(stdout), {
      address: '2001:db8::1',
      policy: 'xt_cluster',
      hashSeed: 0,
      family: 6,
      words: [0xb80d0120],
      hash: 0xaa846c4a,
      buckets: 2,
      bucket: 1,
      node: 2,
      local: false,
    });
    const unknown = JSON.parse(
      cli('explain --src 10.0.0.1 --buckets 3 --cluster-hash-seed 0 --json').stdout,
    ) as object;
    assert.deepEqual(
      { node: null, local: null },
      { node: (unknown as { node: null }).node, local: (unknown as { local: null }).local },
    );
  });

  it('refuses what says nothing of a packet, or the wrong thing', () => {
    const refused = (line: string, message: RegExp): void => {
      const { status, stdout, stderr } = cli(`explain --src 10.0.0.1 ${TWO} ${line}`);
      assert.deepEqual([status, stdout], [2, '']);
      assert.match(stderr, message);
    };
    refused('--dst 10.0.0.2 --dport 80', /--dst needs --proto/);
    refused('--netns a', /--netns needs --dst/);
    refused('--bucket-bits 0xf0', /--bucket-bits needs --dst/);
    for (const bits of ['0', '0x5', '0x1'])
      refused(`--dst 10.0.0.2 --proto 6 --bucket-bits ${bits}`, /bits for a number up to 2/);
  });

  it('refuses what is not an address', () => {
    assert.deepEqual(cli(`explain --src 10.0.0.256 ${TWO}`), {
      status: 2,
      stdout: '',
      stderr: 'nfq-cluster: Expected an IPv4 or IPv6 address for --src but received "10.0.0.256"\n',
    });
  });
});

describe('nfq-cluster', () => {
  const wrongUse = (line: string, message: RegExp) => {
    const { status, stdout, stderr } = cli(line);
    assert.deepEqual([status, stdout], [2, '']);
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /\n {4}at /);
  };

  it('says its version and its commands', () => {
    assert.match(cli('--version').stdout, /^\d+\.\d+\.\d+\n$/);
    const { status, stdout } = cli('--help');
    assert.equal(status, 0);
    for (const command of ['run', 'hash', 'explain'])
      assert.match(stdout, new RegExp(`^ {2}${command} `, 'm'));
  });

  it('ends quietly when nobody reads its help', () => {
    const line = '{ "$0" "$1" run --help; echo $? >&2; } | true';
    const { stderr } = spawnSync('sh', ['-c', line, process.execPath, MAIN], { encoding: 'utf8' });
    assert.equal(stderr, '0\n');
  });

  it('refuses flags that would be ignored, or are misread', () => {
    wrongUse('own --valid-for 100', /--valid-for needs a change/);
    wrongUse('own 1 --valid-for -5', /argument '-5' is invalid\. Expected a positive number/);
    wrongUse('run -i --cluster-total-nodes 2', /Expected NAME, but the next flag follows/);
    wrongUse(`run ${TWO} -i eth1 --cluster-local-node 1 --name -a`, /for --name but received "-a"/);
    wrongUse(`export --running --to nft ${TWO}`, /--running exports what the engine reports/);
    wrongUse('export --running --to nft -i eth1', /--running exports what the engine reports/);
    const whole = `${TWO} -i eth1 --cluster-local-node 1`;
    wrongUse(`export --to iptables --ipv4 ${whole}`, /nothing for ipv4 .* belongs to nft/);
    wrongUse(`export --to nft --address ::1 ${whole}`, /for address .* belongs to pacemaker/);
    wrongUse(`status --setup ${TWO}`, /need --interface or --config/);
    wrongUse('queue-rule --name a --queue 70000', /0 to 65535 for --queue but received \[70000\]/);
    wrongUse('queue-rule --name a --queue 0 --queue-cpu-fanout', /for --queue-cpu-fanout but/);
    wrongUse('queue-rule --name A;b --queue 0', /for --name but received "A;b"/);
  });

  it('refuses wrong use with status 2', () => {
    wrongUse('revert --name Q0', /for name but received "Q0"/);
    wrongUse('doctor --netns a/b', /for netns but received "a\/b"/);
    wrongUse(`explain --src 10.0.0.1 --dst x --proto 6 ${TWO}`, /address for dst but received "x"/);
    wrongUse('', /^Usage: nfq-cluster /);
    wrongUse('walk', /^nfq-cluster: unknown command 'walk'/);
    wrongUse(
      'run --clusterhash-seed 1',
      /^nfq-cluster: unknown option .*\n\(Did you mean --cluster-hash-seed\?\)/,
    );
    wrongUse(
      'hash --cluster-hash-seed 0xfffffffff',
      /^nfq-cluster: option '--hash-init, --cluster-hash-seed <seed>' argument '0xfffffffff' is invalid/,
    );
    wrongUse('hash --cluster-total-nodes 2', /^nfq-cluster: .*--cluster-hash-seed is mandatory/);
    wrongUse(
      'hash --cluster-hash-seed 1 --cluster-total-nodes 33',
      /^nfq-cluster: Expected an integer from 1 to 32 for --cluster-total-nodes but received 33\n$/,
    );
    wrongUse(`explain ${TWO}`, /^nfq-cluster: required option '--src <address>' not specified/);
    wrongUse(
      `explain --src ::1 ${TWO} ! --policy jhash`,
      /^nfq-cluster: a lone ! may stand only before/,
    );
    wrongUse(`run ${TWO} -i eth1:sideways`, /Expected NAME, NAME:source or NAME:destination/);
    wrongUse(
      `explain --src ::1 ${TWO} --cluster-local-node 0`,
      /^nfq-cluster: Expected a node number from 1 to 32, or a list of different ones for --cluster-local-node but received 0\n$/,
    );
    wrongUse(`run ${TWO} -i eth1`, /^nfq-cluster: Expected exactly one of /);
  });
});
