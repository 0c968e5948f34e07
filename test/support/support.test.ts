/* That the tests' own tools can be trusted. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { inject } from './inject.js';
import { bytes, fragments, ping, tcp, udp, unreachable } from './packets.js';
import { cli, root, share, waitFor } from './processes.js';
import { NODE, SENDER, wire, type Wire } from './wire.js';

const skip = process.geteuid!() === 0 ? false : 'needs root';

/** A process that is not there, or only waits for its parent to read how it ended. */
function isGone(pid: number): boolean {
  const status = `/proc/${pid}/status`;
  return !existsSync(status) || /^State:\s+Z/m.test(readFileSync(status, 'utf8'));
}

describe('what a killed test leaves: nothing', { skip }, () => {
  async function killed(env: NodeJS.ProcessEnv): Promise<void> {
    const script = path.join(root, 'test/support/killed.ts');
    const child = spawn(process.execPath, ['--import', 'tsx', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env,
    });
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    const pids = JSON.parse(String(line)) as number[];
    assert.ok(!pids.some(isGone));
    child.kill('SIGKILL');
    await waitFor('the namespace and its programs are gone', () => pids.every(isGone));
  }

  test('of what runs', () => killed(process.env));

  test('of what has yet to start', async () => {
    const folder = await mkdtemp(path.join(os.tmpdir(), 'nfq-cluster-test-'));
    const slow = `#!/bin/sh
while kill -0 $PPID 2>/dev/null; do sleep 0.02; done
PATH=\${PATH#*:} exec setpriv "$@"
`;
    await writeFile(path.join(folder, 'setpriv'), slow, { mode: 0o755 });
    await killed({ ...process.env, PATH: `${folder}:${process.env['PATH']}` });
    await rm(folder, { recursive: true });
  });
});

test('cli runs the command, here or in a namespace', { skip }, async () => {
  const { status, stdout } = await cli(
    ['hash', '--cluster-total-nodes', '2', '--cluster-hash-seed', '0'],
    {
      input: '10.0.0.1\n',
    },
  ).outcome;
  assert.deepEqual({ status, stdout }, { status: 0, stdout: '10.0.0.1\t0\t1\n' });

  await using at = await wire();
  const run = cli(['run', '--interface', 'eth0', '--json', ...share(1, 2)], { namespace: at.node });
  await run.event('ready');
  await run.event('stats');
  run.child.kill('SIGTERM');
  assert.equal((await run.outcome).status, 0);
  await assert.rejects(run.event('doomsday'), /ended before "doomsday"/);
});

test('waitFor says what it waited for', async () => {
  await assert.rejects(
    waitFor('doomsday', () => false, 20),
    /Not within 20 ms: doomsday/,
  );
  let said = '';
  const waited = waitFor(
    () => `doomsday: ${said}`,
    () => false,
    20,
  );
  said = 'not today';
  await assert.rejects(waited, /Not within 20 ms: doomsday: not today/);
});

test('addresses', () => {
  assert.deepEqual([...bytes('192.0.2.1')], [192, 0, 2, 1]);
  assert.equal(bytes('2001:db8::1').toString('hex'), '20010db8000000000000000000000001');
  assert.equal(bytes('::').toString('hex'), '0'.repeat(32));
  assert.equal(bytes('1:2:3:4:5:6:7:8').toString('hex'), '00010002000300040005000600070008');
});

/* The node's kernel judges the frames: it answers what is right in every part, and drops the rest. */
const COUNTERS = `
table inet test {
  chain output {
    type filter hook output priority 0;
    tcp flags & (syn | ack) == syn | ack counter comment "syn-ack"
    icmp type echo-reply counter comment "pong"
    icmpv6 type echo-reply counter comment "pong"
    icmp type destination-unreachable counter comment "unreachable"
    icmpv6 type destination-unreachable counter comment "unreachable"
  }
  chain input {
    type filter hook input priority 0;
    ct state related counter comment "related"
    ct state invalid counter comment "invalid"
  }
}`;

async function counted({ node }: Wire): Promise<Record<string, number>> {
  const rules = await node.run('nft', ['list', 'table', 'inet', 'test']);
  const counts: Record<string, number> = {};
  for (const [, packets, comment] of rules.matchAll(/packets (\d+) .*comment "(.*)"/g)) {
    counts[comment!] = (counts[comment!] ?? 0) + Number(packets);
  }
  return counts;
}

describe('frames', { skip }, () => {
  const families = [
    ['IPv4', { src: '192.0.2.77', dst: NODE.ipv4 }, SENDER.ipv4],
    ['IPv6', { src: '2001:db8::77', dst: NODE.ipv6 }, SENDER.ipv6],
  ] as const;
  for (const [family, ends, router] of families) {
    test(`${family}: the kernel takes them for right`, async () => {
      await using at = await wire();
      await at.node.run('nft', ['-f', '-'], COUNTERS);
      const listener = at.node.spawn(
        process.execPath,
        ['-e', `require('net').createServer().listen(80, '::', () => console.log())`],
        {
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      );
      await once(listener.stdout!, 'data');
      const long = udp({ ...ends, dport: 9, payload: 'x'.repeat(3001) });
      const sent = [
        tcp({ ...ends, dport: 80 }),
        ping(ends),
        udp({ ...ends, payload: 'odd' }),
        ...fragments(long, 1448),
      ];
      await inject(at.sender, 'eth0', sent);
      const expected = { 'syn-ack': 1, pong: 1, unreachable: 2, related: 0, invalid: 0 };
      await waitFor('all are answered', async () => (await counted(at)).unreachable === 2);
      const answer = udp({ src: ends.dst, dst: ends.src, sport: 4000, dport: 53 });
      await at.node.run(process.execPath, ['-e', datagram(ends.src, 4000, 53)]);
      await inject(at.sender, 'eth0', [unreachable(answer, { src: router, dst: ends.dst })]);
      await waitFor('the error belongs to a flow', async () => (await counted(at)).related === 1);
      assert.deepEqual(await counted(at), { ...expected, related: 1 });
    });
  }
});

const datagram = (to: string, from: number, port: number): string =>
  `const s = require('dgram').createSocket('${to.includes(':') ? 'udp6' : 'udp4'}');
   s.bind(${from}, () => s.send('', ${port}, '${to}', () => s.close()));`;
