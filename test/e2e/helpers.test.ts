/*
 * Connections that a helper awaits belong to their master's node: FTP by vsftpd and curl, TFTP by tftpd and
 * curl, SIP by sipp, against the kernel's own match. And none is missed, however soon it comes.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import type { Options } from '../../src/index.js';
import type { Namespace } from '../../src/lab/namespaces.js';
import {
  engineOn,
  gateway,
  SERVER,
  skip,
  source,
  SOURCES_OF_TRUTH,
  type Gateway,
} from '../support/judged-gateway.js';
import { root, waitFor } from '../support/processes.js';

const TFTP = path.join(root, 'test/support/tftp.mjs');
const SOURCES = Array.from({ length: 12 }, (_, index) => source(4, index));
const SOURCES6 = Array.from({ length: 12 }, (_, index) => source(6, index));

/** Helpers follow only what a rule assigns to them. */
async function assignHelpers(node: Namespace): Promise<void> {
  const rules = `*raw
-A PREROUTING -p tcp --dport 21 -j CT --helper ftp
-A PREROUTING -p udp --dport 69 -j CT --helper tftp
-A PREROUTING -p udp --dport 5060 -j CT --helper sip
COMMIT
`;
  for (const program of ['iptables', 'ip6tables']) {
    await node.run(`${program}-restore`, ['--noflush', '-w', '10'], rules);
  }
}

/** Gives what leaves by `inside` the gateway's address. */
async function masquerade(node: Namespace): Promise<void> {
  // Built in, or a module that nothing loads by itself.
  await node.run('sh', ['-c', 'modprobe --quiet nf_nat_tftp || true']);
  await node.run('nft', [
    'add table ip t; add chain ip t c { type nat hook postrouting priority srcnat; }; add rule ip t c oifname inside masquerade',
  ]);
}

/** Sets bits of the connmark that are not ours, and counts new connections that leave with both. */
const USER = `table ip user {
  counter both { }
  chain marking { type filter hook forward priority 0; ct state new ct mark set ct mark | 0x5; }
  chain leaving {
    type filter hook postrouting priority 110
    ct state new ct mark & 0xffff == 0x5 ct mark & 0x3ff0000 != 0 counter name both
  }
}`;

/** A folder with a file, for the servers. */
async function folder(): Promise<{ path: string } & AsyncDisposable> {
  const made = await mkdtemp(path.join(tmpdir(), 'nfq-cluster-'));
  await writeFile(path.join(made, 'file'), 'contents', { mode: 0o644 });
  return { path: made, [Symbol.asyncDispose]: () => rm(made, { recursive: true }) };
}

const VSFTPD = (content: string): string =>
  `listen=NO
listen_ipv6=YES
background=NO
anonymous_enable=YES
local_enable=NO
anon_root=${content}
secure_chroot_dir=${content}
connect_from_port_20=YES
seccomp_sandbox=NO
xferlog_enable=NO
`;

async function ftpServer(at: Namespace, content: string): Promise<void> {
  const config = path.join(content, '..', `${path.basename(content)}.conf`);
  await writeFile(config, VSFTPD(content));
  await at.run('chmod', ['755', content]);
  const server = at.spawn('vsftpd', [config], { stdio: 'inherit' });
  await waitFor('the FTP server', async () => {
    assert.equal(server.exitCode, null, 'vsftpd ended');
    return (await at.run('ss', ['-lnt', 'sport = :21'])).includes(':21');
  });
  await rm(config);
}

const MEDIA = 6000;
/** A datagram to each address, from a port that the call did not tell. */
const SEND_MEDIA = `
  const socket = require('node:dgram').createSocket('udp4');
  let left = process.argv.length - 1;
  for (const address of process.argv.slice(1)) {
    socket.send('x', ${MEDIA}, address, () => { left -= 1; if (left === 0) socket.close(); });
  }`;

/** sipp 3.6 knows only `-mp`, 3.7.2 only the other one. */
const mediaOption = (): string =>
  spawnSync('sipp', ['-h'], { encoding: 'utf8' }).stdout.includes('-min_rtp_port')
    ? '-min_rtp_port'
    : '-mp';

const sipp = (address: string): string[] => [
  ...['-i', address, '-mi', address, '-p', '5060', mediaOption(), String(MEDIA), '-nostdin'],
];

async function sipServer(at: Namespace): Promise<void> {
  const line = ['-sn', 'uas', ...sipp(SERVER[4])];
  const server = at.spawn('sipp', line, { stdio: 'ignore', cwd: tmpdir() });
  await waitFor('the SIP server', async () => {
    assert.equal(server.exitCode, null, 'sipp ended');
    return (await at.run('ss', ['-lnu', 'sport = :5060'])).includes(':5060');
  });
}

/** A call of some seconds; fails unless it is answered and ended in order. */
const call = (at: Namespace, from: string): Promise<string> =>
  at.run('sipp', ['-sn', 'uac', ...sipp(from), '-m', '1', '-d', '8000', `${SERVER[4]}:5060`]);

/** Each a script that fetches the file from $1, as often as `FETCHES` says. */
const CURL = 'curl --silent --show-error --max-time 20 --globoff';
const FETCH = {
  ftp: `
    ftp="${CURL} --interface $1 ftp://${SERVER[4]}/file"
    $ftp
    $ftp --disable-epsv
    $ftp --ftp-port $1
    $ftp --ftp-port $1 --disable-eprt`,
  ftp6: `
    ftp="${CURL} --interface $1 ftp://[${SERVER[6]}]/file"
    $ftp
    $ftp --ftp-port [$1]`,
  tftp: `
    ip route replace ${SERVER[4]} via 10.91.0.1 src $1
    ${CURL} tftp://${SERVER[4]}/file`,
};
const FETCHES: Readonly<Record<keyof typeof FETCH, number>> = { ftp: 4, ftp6: 2, tftp: 1 };

/** Fetches the file from all of these sources, one after the other. */
async function fetchBy(how: keyof typeof FETCH, at: Namespace, sources: string[]): Promise<void> {
  const program = `while test $# -gt 0; do ${FETCH[how]}\nshift; done`;
  const fetched = await at.run('sh', ['-efc', program, 'sh', ...sources]);
  assert.equal(fetched, 'contents'.repeat(FETCHES[how] * sources.length));
}

/** So many reads by TFTP from all sources, each answered at once; then what was judged. */
async function tftpReads(
  lab: Gateway,
  count: number,
): Promise<Awaited<ReturnType<Gateway['judged']>>> {
  const server = lab.server.spawn(process.execPath, [TFTP, 'server', SERVER[4]], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(server.stdout!, 'data');
  await lab.client.run(process.execPath, [TFTP, 'client', SERVER[4], String(count), ...SOURCES]);
  return lab.judged();
}

/** Fails unless the kernel and the engine say the same of each answer, and not of all the same. */
async function judgedAlike(lab: Gateway, count: number): Promise<void> {
  const { related } = await tftpReads(lab, count);
  assert.equal(related.kernelOnly + related.engineOnly, 0);
  assert.equal(related.both + related.neither, count);
  assert.ok(related.both > 0 && related.neither > 0);
}

/** Whether anybody in a namespace does, by the kernel's list of netlink sockets and their groups. */
async function listensToExpectations(node: Namespace): Promise<boolean> {
  const [, ...sockets] = (await node.run('cat', ['/proc/net/netlink'])).trim().split('\n');
  return sockets
    .map((line) => line.trim().split(/\s+/))
    .some(([, protocol, , groups]) => {
      return Number(protocol) === NETLINK_NETFILTER && (parseInt(groups!, 16) & EXP_NEW) !== 0;
    });
}
const NETLINK_NETFILTER = 12;
/** The bit of the group NFNLGRP_CONNTRACK_EXP_NEW. */
const EXP_NEW = 1 << 3;

/** Asks for a data connection to port 4444 by a control connection from port 3333, and leaves it at that. */
async function announce(at: Namespace, from: string): Promise<void> {
  const script = `const net = require('net');
    const data = net.createServer().listen(4444, '${from}');
    const control = net.connect({ host: '${SERVER[4]}', port: 21, localPort: 3333, localAddress: '${from}' });
    const port = '${from.replaceAll('.', ',')},17,92';
    const lines = ['USER anonymous', 'PASS x', 'PORT ' + port];
    control.on('data', (text) => { if (lines.length > 0) control.write(lines.shift() + '\\r\\n'); else console.log(String(text)); });`;
  const client = at.spawn(process.execPath, ['-e', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await once(client.stdout!, 'data');
}

describe('connections that a helper awaits are their master’s', { skip }, () => {
  const ways: [NonNullable<Options['conntrack']>, Options['offload']][] = [
    ...SOURCES_OF_TRUTH.map((conntrack): [typeof conntrack, []] => [conntrack, []]),
    ['auto', ['flows']],
    ['auto', ['sources']],
  ];
  const titleOf = (conntrack: string, offload: readonly string[]): string =>
    [`conntrack ${conntrack}`, ...offload.map((what) => `offload ${what}`)].join(', ');
  for (const [conntrack, offload = []] of ways) {
    test(`FTP, active and passive, IPv4 and IPv6: ${titleOf(conntrack, offload)}`, async () => {
      await using lab = await gateway();
      await using content = await folder();
      await assignHelpers(lab.gateway);
      await using engine = await engineOn(lab, { conntrack, offload });
      await lab.judge();
      await ftpServer(lab.server, content.path);
      await fetchBy('ftp', lab.client, SOURCES);
      await fetchBy('ftp6', lab.client, SOURCES6);
      const { related, ...others } = await lab.judged();
      for (const [name, judged] of Object.entries({ related, ...others })) {
        assert.equal(judged.kernelOnly + judged.engineOnly, 0, name);
      }
      assert.ok(related.both > 0 && related.neither > 0);
      assert.equal(related.both + related.neither, 6 * SOURCES.length, 'one for each file');
      const { expected, unknown } = engine.stats();
      assert.equal(unknown, 0);
      assert.equal(expected, conntrack === 'netlink' ? 6 * SOURCES.length : 0);
    });
  }

  for (const conntrack of SOURCES_OF_TRUTH) {
    test(`SIP, a call and its media: conntrack ${conntrack}`, async () => {
      await using lab = await gateway();
      await assignHelpers(lab.gateway);
      await using engine = await engineOn(lab, { conntrack });
      await lab.judge();
      await sipServer(lab.server);
      const calls = SOURCES.map((from) => call(lab.client, from));
      for (const dst of SOURCES) {
        const media = { src: SERVER[4], dst, protocol: 17, sport: MEDIA, dport: MEDIA };
        await waitFor('an announcement', async () => {
          return (await engine.conntrack.masterOf(media))?.src === dst;
        });
      }
      await lab.server.run(process.execPath, ['-e', SEND_MEDIA, ...SOURCES]);
      await waitFor('the media', async () => {
        const { both, neither } = (await lab.judged()).related;
        return both + neither >= SOURCES.length;
      });
      await Promise.all(calls);
      const { related, ...others } = await lab.judged();
      for (const [name, judged] of Object.entries({ related, ...others })) {
        assert.equal(judged.kernelOnly + judged.engineOnly, 0, name);
      }
      assert.ok(related.both > 0 && related.neither > 0);
      assert.equal(related.both + related.neither, SOURCES.length, 'one for each call');
      assert.equal(engine.stats().unknown, 0);
    });

    test(`TFTP: conntrack ${conntrack}`, async () => {
      await using lab = await gateway();
      await using content = await folder();
      await assignHelpers(lab.gateway);
      await using engine = await engineOn(lab, { conntrack });
      await lab.judge();
      await lab.server.run('chmod', ['755', content.path]);
      lab.server.spawn('in.tftpd', ['-L', '-s', content.path, '-a', `${SERVER[4]}:69`], {
        stdio: 'inherit',
      });
      await waitFor('the TFTP server', async () =>
        (await lab.server.run('ss', ['-lnu', 'sport = :69'])).includes(':69'),
      );
      await fetchBy('tftp', lab.client, SOURCES);
      const judged = await lab.judged();
      for (const [name, { kernelOnly, engineOnly }] of Object.entries(judged)) {
        assert.equal(kernelOnly + engineOnly, 0, name);
      }
      assert.ok(judged.related.both > 0 && judged.related.neither > 0);
      assert.equal(engine.stats().unknown, 0);
    });

    test(`thousands, each microseconds after it was announced: conntrack ${conntrack}`, async () => {
      const count = 4000;
      await using lab = await gateway();
      await assignHelpers(lab.gateway);
      await using engine = await engineOn(lab, { conntrack });
      await lab.judge();
      await judgedAlike(lab, count);
      const { unknown, expected } = engine.stats();
      assert.equal(unknown, 0);
      if (conntrack === 'netlink') assert.equal(expected, count);
    });
  }

  for (const [conntrack, offload = []] of ways) {
    test(`also where the master entered by another interface, and left by ours: ${titleOf(conntrack, offload)}`, async () => {
      await using lab = await gateway();
      await assignHelpers(lab.gateway);
      await using engine = await engineOn(lab, { conntrack, offload, interfaces: ['inside'] });
      await masquerade(lab.gateway);
      await lab.judge();
      assert.equal(
        await listensToExpectations(lab.gateway),
        engine.conntrack.source === 'netlink' && offload.length === 0,
      );
      await judgedAlike(lab, 200);
      assert.equal(engine.stats().unknown, 0);
    });
  }

  for (const offload of [[], ['sources']] as const) {
    test(`also where its master has a connmark of the user’s: ${titleOf('mark', offload)}`, async () => {
      await using lab = await gateway();
      await assignHelpers(lab.gateway);
      const way = { conntrack: 'mark', offload, interfaces: ['inside'] } as const;
      await using engine = await engineOn(lab, way);
      await lab.gateway.run('nft', ['-f', '-'], USER);
      await lab.judge();
      await judgedAlike(lab, 200);
      assert.equal(engine.stats().unknown, 0);
      const counted = await lab.gateway.run('nft', ['list', 'counter', 'ip', 'user', 'both']);
      assert.match(counted, /packets 200 /, 'each master has both marks');
    });
  }

  test('none is owned in error where the engine was told that there are no helpers', async () => {
    for (const conntrack of ['netlink', 'mark'] as const) {
      await using lab = await gateway();
      await assignHelpers(lab.gateway);
      await using engine = await engineOn(lab, { conntrack, helpers: false });
      await lab.judge();
      const { related } = await tftpReads(lab, 100);
      assert.ok(related.neither > 0);
      assert.equal(related.engineOnly, 0);
      // By mark the bucket is their master's; else they are unknown.
      const { unknown, expectations } = engine.stats();
      assert.deepEqual(
        [related.both > 0, related.kernelOnly, unknown, expectations],
        conntrack === 'mark' ? [true, 0, 0, 0] : [false, unknown - related.neither, 100, 0],
      );
    }
  });

  test('one announced before the engine came is found in the kernel’s list', async () => {
    await using lab = await gateway();
    await assignHelpers(lab.gateway);
    await lab.gateway.run('nft', [
      'table ip t { chain c { type filter hook forward priority 0; ct state new counter; }; }',
    ]);
    const listener = `const s = require('dgram').createSocket('udp4');
      s.bind(69, '${SERVER[4]}', () => console.log('listening'));
      s.on('message', (_, from) => { console.log('asked'); process.stdin.once('data', () => {
        const t = require('dgram').createSocket('udp4');
        t.send(Buffer.from([0, 3, 0, 1, 88]), from.port, from.address, () => process.exit(0)); }); });`;
    const server = lab.server.spawn(process.execPath, ['-e', listener], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    await once(server.stdout!, 'data');
    const asked = once(server.stdout!, 'data');
    const client = lab.client.run(process.execPath, [TFTP, 'client', SERVER[4], '1', SOURCES[0]!]);
    await asked;
    await using engine = await engineOn(lab, { conntrack: 'netlink' });
    await lab.judge();
    server.stdin!.write('go');
    await client;
    const { related } = await lab.judged();
    assert.equal(related.kernelOnly + related.engineOnly, 0);
    assert.equal(related.both + related.neither, 1);
    assert.equal(engine.stats().expected, 1);
  });

  test('one announced is counted, though no packet comes after it', async () => {
    await using lab = await gateway();
    await using content = await folder();
    await assignHelpers(lab.gateway);
    await using engine = await engineOn(lab, { conntrack: 'netlink' });
    await ftpServer(lab.server, content.path);
    await announce(lab.client, SOURCES[0]!);
    await waitFor('the announcement', () => engine.stats().expectations === 1);
  });

  test('masterOf() names the master, before and after the first packet', async () => {
    await using lab = await gateway();
    await using content = await folder();
    await assignHelpers(lab.gateway);
    await using engine = await engineOn(lab);
    await ftpServer(lab.server, content.path);
    const from = SOURCES[0]!;
    await announce(lab.client, from);
    const master = { src: from, dst: SERVER[4], protocol: 6, sport: 3333, dport: 21 };
    const data = { src: SERVER[4], dst: from, protocol: 6, sport: 20, dport: 4444 };
    assert.deepEqual(await engine.conntrack.masterOf(data), master);
    assert.equal(await engine.conntrack.originalOf(data), null, 'it has not come yet');
    assert.equal(await engine.conntrack.masterOf(master), null);
    assert.deepEqual(await engine.conntrack.originalOf(master), master);
  });
});
