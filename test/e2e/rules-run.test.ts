import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Hasher } from '../../src/hash.js';
import { native } from '../../src/native.js';
import {
  cannotTest,
  connect,
  counted,
  lab,
  NODE4,
  NODE6,
  probe,
  rules,
  send,
  sh,
  until,
  type Lab,
} from '../support/rules-lab.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const skip = await cannotTest();

/** The node of two that owns what the client sends. */
const hasher = new Hasher({ totalNodes: 2, hashSeed: 7 });
const OWNER = { 4: hasher.node('10.77.0.1'), 6: hasher.node('fd77::1') };
const OTHER = { 4: 3 - OWNER[4], 6: 3 - OWNER[6] };

interface Run extends AsyncDisposable {
  child: ChildProcess;
  /** What it has written so far. */
  said: { stdout: string; stderr: string };
  /** Its exit status, or the signal that ended it. */
  ended: Promise<number | string>;
}

/** Starts `nfq-cluster run` for two nodes in the node's namespace. */
function start(at: Lab, args: readonly (string | number)[], wrapper: readonly string[] = []): Run {
  const all = ['run', '--cluster-total-nodes', 2, '--cluster-hash-seed', 7, ...args].map(String);
  return launch(['nsenter', `--net=${at.node}`, ...wrapper, process.execPath, MAIN, ...all]);
}

/** The program ends with this process, however it ends. */
function launch(line: readonly string[]): Run {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...line], { stdio: 'pipe' });
  const said = { stdout: '', stderr: '' };
  child.stdout.on('data', (text) => (said.stdout += String(text)));
  child.stderr.on('data', (text) => (said.stderr += String(text)));
  const ended = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | string);
  return {
    child,
    said,
    ended,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

const ready = (run: Run): Promise<void> =>
  until('run is ready', () => run.said.stderr.includes('nfq-cluster: ready: '));

const wire = ['-i', 'wire'];
const node = (number: number): (string | number)[] => ['--cluster-local-node', number];

/** The last line of standard output, read as JSON. */
const lastLine = (run: Run) =>
  JSON.parse(run.said.stdout.trim().split('\n').at(-1)!) as Record<string, unknown>;

describe('nfq-cluster run', { skip }, () => {
  it('accepts what it owns, drops the rest, and leaves no trace', async () => {
    for (const [family, way] of [
      [4, 'auto'],
      [6, 'auto'],
      [4, 'xtables'],
      [6, 'xtables'],
    ] as const) {
      await using at = await lab();
      const address = family === 4 ? NODE4 : NODE6;
      const before = rules(at.node);
      for (const [local, passing] of [
        [OWNER, true],
        [OTHER, false],
      ] as const) {
        await using run = start(at, [...wire, ...node(local[family]), '--json', '--rules', way]);
        await ready(run);
        probe(at);
        send(at, address, 7, 20);
        await until('twenty datagrams have arrived', () => counted(at.node, 'arrived') === 20);
        if (passing) await until('they have passed', () => counted(at.node, 'passed') === 20);
        run.child.kill(passing ? (family === 4 ? 'SIGTERM' : 'SIGHUP') : 'SIGINT');
        assert.equal(await run.ended, 0);
        assert.equal(counted(at.node, 'passed'), passing ? 20 : 0);
        const { event, received, owned, foreign } = lastLine(run);
        assert.deepEqual(
          { event, received, owned, foreign },
          { event: 'closed', received: 20, owned: passing ? 20 : 0, foreign: passing ? 0 : 20 },
        );
        sh(at.node, 'nft delete table inet probe');
        assert.equal(rules(at.node), before);
      }
    }
  });

  it('by nft-compat drops what it cannot queue, until queue-rule mends that', async (t) => {
    if (native.probeQueue().target !== 0) return t.skip('the kernel has no such rule');
    await using at = await lab();
    await using run = start(at, [...wire, ...node(OWNER[4]), '--rules', 'nft-compat']);
    await ready(run);
    probe(at);
    sh(at.node, 'nft flush chain inet nfq-cluster-q0 nfqueue');
    send(at, NODE4, 7, 5);
    await until('five datagrams have arrived', () => counted(at.node, 'arrived') === 5);
    sh(at.node, `"${process.execPath}" "${MAIN}" queue-rule --name q0 --queue 0`);
    send(at, NODE4, 7, 3);
    await until('three datagrams have passed', () => counted(at.node, 'passed') >= 3);
    assert.equal(counted(at.node, 'passed'), 3);
  });

  it('tells JSON line by line: ready, stats, closed', async () => {
    await using at = await lab();
    await using run = start(at, [...wire, ...node(1), '--json', '-q', '3-4', '--name', 'gw']);
    await until(
      'two lines of statistics',
      () => run.said.stdout.split('"event":"stats"').length > 2,
    );
    run.child.kill('SIGTERM');
    assert.equal(await run.ended, 0);
    const lines = run.said.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const [first, second] = lines;
    assert.deepEqual(
      [first!['event'], first!['queues'], first!['interfaces']],
      ['ready', [3, 4], [{ name: 'wire', key: 'source', addresses: [], destinations: 'all' }]],
    );
    assert.equal((first!['rules'] as { name: string }).name, 'nfq-cluster-gw');
    assert.equal(second!['event'], 'stats');
    assert.equal(typeof (second!['second'] as { received: number }).received, 'number');
    assert.equal(lines.at(-1)!['event'], 'closed');
  });

  it('tells people in columns, from outside the namespace too, by a file of options', async (t) => {
    await using at = await lab();
    const folder = mkdtempSync(join(tmpdir(), 'nfq-cluster-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const file = join(folder, 'options.json');
    const interfaces = [{ name: 'wire', key: 'destination' }];
    const options = { interfaces, localNode: 1, totalNodes: 2, hashSeed: 7, netns: at.node };
    writeFileSync(file, JSON.stringify(options));
    await using run = launch([process.execPath, MAIN, 'run', '--config', file]);
    await until('a line of statistics', () => run.said.stdout.split('\n').length > 2);
    assert.match(rules(at.node), /nfq-cluster-q0/);
    run.child.kill('SIGTERM');
    assert.equal(await run.ended, 0);
    const { stdout } = run.said;
    const [head, row] = stdout.split('\n');
    assert.match(
      head!,
      /^ *received\/s +owned\/s +foreign\/s +unknown +malformed +lost +p50 us +p99 us$/,
    );
    assert.match(row!, /^ +0 +0 +0 +0 +0 +0 +- +-$/);
    assert.match(stdout, /\ntotal: received 0, owned 0, foreign 0, unknown 0, malformed 0, .*\n$/);
    assert.equal(rules(at.node), '');
  });

  it('keeps foreign packets out after SIGKILL, until it runs again', async () => {
    await using at = await lab();
    sh(at.node, 'nft add table inet mine; iptables-nft -t mangle -A PREROUTING -i other -j ACCEPT');
    const before = rules(at.node);
    await using killed = start(at, [...wire, ...node(OWNER[4])]);
    await ready(killed);
    killed.child.kill('SIGKILL');
    assert.equal(await killed.ended, 'SIGKILL');
    probe(at);
    send(at, NODE4, 7, 5);
    await until('five datagrams have arrived', () => counted(at.node, 'arrived') === 5);
    assert.equal(counted(at.node, 'passed'), 0);
    await using again = start(at, [...wire, ...node(OWNER[4])]);
    await ready(again);
    send(at, NODE4, 7, 5);
    await until('five more have passed', () => counted(at.node, 'passed') === 5);
    again.child.kill('SIGTERM');
    assert.equal(await again.ended, 0);
    sh(at.node, 'nft delete table inet probe');
    assert.equal(rules(at.node), before);
  });

  it("marks what it owns for a user's own rule, and leaves all other bits", async () => {
    for (const [local, passing] of [
      [OWNER[4], true],
      [OTHER[4], false],
    ] as const) {
      await using at = await lab();
      // The man page's example, and a packet as it comes to a shared multicast MAC.
      sh(at.node, 'iptables-nft -t mangle -A PREROUTING -i wire -m mark ! --mark 0xffff -j DROP');
      sh(at.client, `ip neigh replace ${NODE4} lladdr 01:00:5e:00:00:77 dev wire`);
      await using run = start(at, [...wire, ...node(local), '--action', 'mark', '--json']);
      await ready(run);
      assert.equal(connect(at, NODE4), passing ? 'ECONNREFUSED' : 'timeout');
      sh(at.node, 'iptables-nft -t mangle -F PREROUTING 2>/dev/null || true');
      run.child.kill('SIGTERM');
      assert.equal(await run.ended, 0);
      assert.ok((lastLine(run)[passing ? 'owned' : 'foreign'] as number) > 0);
    }
    await using at = await lab();
    await using run = start(at, [
      ...wire,
      ...node(OWNER[4]),
      '--action',
      'mark',
      '--mark',
      '0x1/0xf',
    ]);
    await ready(run);
    probe(
      at,
      'meta mark set 0xabcdef;',
      'meta l4proto udp meta mark 0xabcde1 counter name expected;',
    );
    send(at, NODE4, 7, 5);
    await until('five datagrams have passed', () => counted(at.node, 'passed') === 5);
    assert.equal(counted(at.node, 'expected'), 5);
  });

  it('makes TCP to a multicast MAC work, for its owner only', async () => {
    for (const family of [4, 6] as const) {
      const address = family === 4 ? NODE4 : NODE6;
      for (const [local, outcome] of [
        [OWNER[family], 'ECONNREFUSED'],
        [OTHER[family], 'timeout'],
      ] as const) {
        await using at = await lab();
        sh(
          at.client,
          `ip neigh replace ${address} lladdr ${family === 4 ? '01:00:5e' : '33:33:00'}:00:00:77 dev wire`,
        );
        await using run = start(at, [...wire, ...node(local), '--json']);
        await ready(run);
        assert.equal(connect(at, address), outcome);
        run.child.kill('SIGTERM');
        assert.equal(await run.ended, 0);
        if (outcome === 'ECONNREFUSED') assert.ok((lastLine(run)['fixups'] as number) > 0);
      }
    }
  });

  it('ends, and removes its rules, when nobody reads its output any more', async () => {
    await using at = await lab();
    await using run = start(at, [...wire, ...node(1)]);
    await ready(run);
    run.child.stdout!.destroy();
    assert.equal(await run.ended, 0);
    assert.equal(rules(at.node), '');
  });

  it('ends at once at a second signal', async () => {
    await using at = await lab();
    await using run = start(at, [...wire, ...node(1)]);
    await ready(run);
    run.child.kill('SIGTERM');
    run.child.kill('SIGINT');
    const status = await run.ended;
    assert.ok(status === 130 || status === 143, `ended with ${status}`);
    assert.match(run.said.stderr, /again: ends at once; rules may still stand/);
  });

  it('says what is wrong before it changes anything', async () => {
    await using at = await lab();
    await using holder = start(at, [...wire, ...node(1)]);
    await ready(holder);
    const before = rules(at.node);
    const unprivileged = ['setpriv', '--bounding-set', '-net_admin,-sys_admin'];
    const cases: { args: (string | number)[]; message: RegExp; wrapper?: string[] }[] = [
      { args: [...wire, ...node(1), '--name', 'second'], message: /queue 0 /i },
      { args: ['-i', 'wires', ...node(1), '-q', 1], message: /interface wires/i },
      { args: [...wire, ...node(1), '--netns', 'nowhere'], message: /network namespace nowhere/ },
      { args: [...wire, ...node(1), '-q', 1], message: /permitted/i, wrapper: unprivileged },
    ];
    for (const { args, message, wrapper } of cases) {
      await using run = start(at, args, wrapper);
      assert.equal(await run.ended, 1);
      assert.equal(run.said.stdout, '');
      assert.match(run.said.stderr, /^nfq-cluster: [^\n]+\n$/);
      assert.match(run.said.stderr, message);
      assert.equal(rules(at.node), before);
    }
  });
});
