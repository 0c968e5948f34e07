import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { revert } from '../../src/index.js';
import { install } from '../../src/setup/index.js';
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
import { mechanismsHere, options } from '../support/rules-mechanisms.js';

/** A user's own rules, in every place where ours go. */
const USERS_RULES = `
  nft -f - <<END
  table inet mine { chain early { type filter hook prerouting priority -150; meta mark 0x77 counter drop; }; }
  table ip mine-too { set s { type ipv4_addr; elements = { 192.0.2.1 } ; }; }
END
  iptables-nft -t mangle -A PREROUTING -i other -m mark --mark 0x5 -j DROP
  ip6tables-nft -t mangle -N kept; ip6tables-nft -t mangle -A PREROUTING -j kept
  iptables-nft -A INPUT -p tcp --dport 9999 -j DROP
  if command -v iptables-legacy; then
    iptables-legacy -t mangle -A PREROUTING -i other -j MARK --set-mark 0x4
    iptables-legacy -t nat -A PREROUTING -p udp --dport 4 -j REDIRECT --to-ports 5
  fi`;

const NOTRACK = 'udp dport 9 notrack;';

const skip = await cannotTest();
const mechanisms = skip === false ? await mechanismsHere() : [];

for (const [title, mechanism] of mechanisms) {
  describe(`rules by ${title}`, { skip }, () => {
    it('leave no trace', async () => {
      await using at = await lab();
      const before = rules(at.node);
      const installed = await install(options(at), mechanism);
      assert.match(rules(at.node), /nfq-cluster-q10/);
      await installed.remove();
      await installed.remove();
      // What iptables-legacy has touched once stays registered, and empty, until the namespace ends.
      assert.equal(
        rules(at.node).replace(/^\*mangle\n(:[A-Z]+ ACCEPT \[_:_\]\n){5}COMMIT\n/gm, ''),
        before,
      );
    });

    it("leave the user's rules as they were", async () => {
      await using at = await lab();
      sh(at.node, USERS_RULES);
      const before = rules(at.node);
      const installed = await install(options(at, { action: 'mark', queues: [10, 11] }), mechanism);
      await installed.stopQueueing();
      await installed.remove();
      const after = rules(at.node).replace(
        /^\*mangle\n(:[A-Z]+ ACCEPT \[_:_\]\n){5}COMMIT\n/gm,
        '',
      );
      assert.equal(after, before);
    });

    it('are the same when installed twice, by the same hooks', async () => {
      await using at = await lab();
      await install(options(at), mechanism);
      const first = rules(at.node);
      const hooks = baseChains(at);
      assert.ok(hooks.length >= 2);
      const installed = await install(options(at), mechanism);
      assert.equal(rules(at.node), first);
      // To delete a base chain would drop every packet held for any queue of the namespace.
      assert.deepEqual(baseChains(at), hooks);
      await installed.stopQueueing();
      assert.deepEqual(baseChains(at), hooks);
      await installed.remove();
      assert.doesNotMatch(rules(at.node), /nfq-cluster|PREROUTING -j|table/);
    });

    it('replace what a killed run of the same name left, with other options', async () => {
      await using fresh = await lab();
      await using at = await lab();
      const name = 'n';
      const next = { name, queues: [20, 21], interfaces: ['other'], action: 'mark' } as const;
      await install(options(fresh, next), mechanism);
      await install(options(at, { name }), mechanism);
      const installed = await install(options(at, next), mechanism);
      assert.deepEqual(rules(at.node).split('\n').sort(), rules(fresh.node).split('\n').sort());
      await installed.remove();
      assert.doesNotMatch(rules(at.node), /nfq-cluster|table/);
    });

    it('replace what another mechanism left', async () => {
      await using fresh = await lab();
      await install(options(fresh), mechanism);
      for (const [, other] of mechanisms) {
        await using at = await lab();
        await install(options(at), other);
        const installed = await install(options(at), mechanism);
        assert.deepEqual(ours(at), ours(fresh));
        await installed.remove();
        assert.doesNotMatch(rules(at.node), /nfq-cluster|table/);
      }
    });

    it('drop what enters our interfaces while nobody listens, and nothing else', async () => {
      await using at = await lab();
      probe(at);
      await install(options(at), mechanism);
      send(at, NODE4, 7, 5);
      send(at, NODE6, 7, 5);
      await until('ten datagrams have arrived', () => counted(at.node, 'arrived') === 10);
      assert.equal(counted(at.node, 'passed'), 0);
      send(at, '10.78.0.2', 7, 2);
      send(at, 'fd78::2', 7, 2);
      await until(
        'four datagrams by the other interface have passed',
        () => counted(at.node, 'passed') === 4,
      );
    });

    it('let neighbour discovery pass', async () => {
      for (const action of ['drop', 'mark'] as const) {
        await using at = await lab();
        sh(
          at.node,
          `nft -f - <<END
          table inet users { chain c { type filter hook prerouting priority 0; iifname "wire" meta mark != ${action === 'mark' ? '0xffff' : '0'} drop; }; }
END`,
        );
        const installed = await install(options(at, { action }), mechanism);
        for (const phase of ['queueing', 'closing']) {
          sh(at.client, 'ip -6 neigh flush dev wire');
          send(at, NODE6, 7);
          await until(`the client knows the node's MAC, ${phase}, action ${action}`, () =>
            /lladdr .* (REACHABLE|DELAY|STALE)/.test(
              sh(at.client, `ip -6 neigh show ${NODE6} dev wire`),
            ),
          );
          await installed.stopQueueing();
        }
      }
    });

    it('drop untracked packets', async () => {
      await using at = await lab();
      probe(at, NOTRACK);
      await install(options(at), mechanism);
      send(at, NODE4, 9, 3);
      send(at, NODE6, 9, 3);
      await until('six datagrams have arrived', () => counted(at.node, 'arrived') === 6);
      assert.equal(counted(at.node, 'passed'), 0);
    });

    it('let untracked packets pass under action mark, without our bits and with all others', async () => {
      await using at = await lab();
      probe(
        at,
        `udp dport 9 meta mark set 0xffffffff; ${NOTRACK}`,
        'udp dport 9 meta mark 0x3fff0000 counter name expected;',
      );
      await install(options(at, { action: 'mark' }), mechanism);
      send(at, NODE4, 9, 3);
      send(at, NODE6, 9, 3);
      await until('six datagrams have passed', () => counted(at.node, 'passed') === 6);
      assert.equal(counted(at.node, 'expected'), 6);
    });

    it("let a user's mangle rule see a packet without our bits", async () => {
      await using at = await lab();
      probe(at, `meta pkttype set multicast; ${NOTRACK}`);
      // As in the man page, with all 32 bits compared.
      sh(
        at.node,
        'iptables-nft -t mangle -A PREROUTING -i wire -p udp -m mark ! --mark 0x0 -j DROP',
      );
      await install(options(at, { action: 'mark' }), mechanism);
      send(at, NODE4, 9, 3);
      await until('three datagrams have passed', () => counted(at.node, 'passed') === 3);
    });

    it('drop INVALID packets, and let them pass unmarked under action mark', async () => {
      for (const [action, passing] of [
        ['drop', false],
        ['mark', true],
      ] as const) {
        await using at = await lab();
        await using flow = await established(at);
        sh(at.node, 'echo 0 >/proc/sys/net/netfilter/nf_conntrack_tcp_loose');
        probe(at, '', 'tcp dport 7777 ct state invalid meta mark 0 counter name expected;');
        await install(options(at, { action }), mechanism);
        flow.say();
        await until('a segment in mid-stream has arrived', () => counted(at.node, 'arrived') > 0);
        assert.equal(counted(at.node, 'passed') > 0, passing);
        assert.equal(counted(at.node, 'expected'), counted(at.node, 'passed'));
      }
    });

    it('make a unicast packet in a multicast frame a HOST packet', async () => {
      await using at = await lab();
      probe(
        at,
        'meta l4proto tcp notrack;',
        'meta l4proto tcp meta pkttype host counter name expected;',
      );
      sh(
        at.client,
        `ip neigh replace ${NODE4} lladdr 01:00:5e:00:00:77 dev wire; ip neigh replace ${NODE6} lladdr 33:33:00:00:00:77 dev wire`,
      );
      assert.equal(connect(at, NODE4), 'timeout');
      await install(options(at, { action: 'mark' }), mechanism);
      assert.equal(connect(at, NODE4), 'ECONNREFUSED');
      assert.equal(connect(at, NODE6), 'ECONNREFUSED');
      assert.ok(counted(at.node, 'expected') >= 2);
    });

    it('stay closed between stopQueueing and remove', async () => {
      await using at = await lab();
      probe(at);
      const installed = await install(options(at), mechanism);
      await installed.stopQueueing();
      await installed.stopQueueing();
      assert.doesNotMatch(rules(at.node), /queue num|queue to|NFQUEUE/);
      send(at, NODE4, 7, 5);
      send(at, NODE6, 7, 5);
      await until('ten datagrams have arrived', () => counted(at.node, 'arrived') === 10);
      assert.equal(counted(at.node, 'passed'), 0);
      await installed.remove();
      send(at, NODE4, 7, 2);
      await until('two datagrams have passed', () => counted(at.node, 'passed') === 2);
    });

    it('let packets pass unmarked between stopQueueing and remove under action mark', async () => {
      await using at = await lab();
      probe(at, 'meta mark set 0x1ffff;', 'meta mark 0x10000 counter name expected;');
      const installed = await install(options(at, { action: 'mark' }), mechanism);
      await installed.stopQueueing();
      send(at, NODE4, 7, 2);
      send(at, NODE6, 7, 2);
      await until('four datagrams have passed', () => counted(at.node, 'passed') === 4);
      assert.equal(counted(at.node, 'expected'), 4);
    });

    it('of two engines in one namespace do not touch each other', async () => {
      await using at = await lab();
      const [a, b] = [
        options(at, { name: 'a' }),
        options(at, { name: 'b', queues: [11], interfaces: ['other'] }),
      ];
      const alone = await install(b, mechanism);
      const before = ours(at);
      await alone.remove();
      assert.equal(tcpLoose(at), 1);
      for (const installing of [
        async () => Promise.all([install(a, mechanism), install(b, mechanism)]),
        async () => [await install(a, mechanism), await install(b, mechanism)] as const,
        async () => [await install(b, mechanism), await install(a, mechanism)].toReversed(),
      ]) {
        const [first, second] = await installing();
        await first.remove();
        assert.deepEqual(ours(at), before);
        assert.equal(tcpLoose(at), 0);
        await second.remove();
        assert.doesNotMatch(rules(at.node), /nfq-cluster|table/);
        assert.equal(tcpLoose(at), 1);
      }
    });

    it('of a killed engine, reverted, leave another what both need', async () => {
      await using at = await lab();
      const [a, b] = [
        options(at, { name: 'a' }),
        options(at, { name: 'b', queues: [11], interfaces: ['other'] }),
      ];
      for (const [killed, running] of [
        [a, b],
        [b, a],
      ] as const) {
        await install(a, mechanism);
        await install(b, mechanism);
        // Of the one that still runs.
        const installed = await install(running, mechanism);
        await revert({ name: killed.name, netns: at.node });
        assert.equal(tcpLoose(at), 0);
        await installed.remove();
        assert.equal(tcpLoose(at), 1);
      }
    });

    it('removed together leave the kernel as it was', async () => {
      await using at = await lab();
      const installed = [
        await install(options(at, { name: 'a' }), mechanism),
        await install(options(at, { name: 'b', queues: [11], interfaces: ['other'] }), mechanism),
      ];
      assert.equal(tcpLoose(at), 0);
      await Promise.all(installed.map((setup) => setup.remove()));
      assert.equal(tcpLoose(at), 1);
      assert.doesNotMatch(rules(at.node), /nfq-cluster|table/);
    });

    it('come while others go, with all that they need', async () => {
      await using at = await lab();
      let last = await install(options(at, { name: 'n0' }), mechanism);
      for (const round of [1, 2, 3, 4]) {
        const next = options(at, { name: `n${round}`, queues: [10 + round] });
        const [installed] = await Promise.all([install(next, mechanism), last.remove()]);
        assert.equal(tcpLoose(at), 0);
        last = installed;
      }
      await last.remove();
      assert.equal(tcpLoose(at), 1);
    });

    it('are undone as a whole where a part is refused', async () => {
      await using at = await lab();
      const impossible = { ...options(at), queues: [70_000] };
      await assert.rejects(install(impossible, mechanism), { code: 'ERR_RULES' });
      assert.doesNotMatch(rules(at.node), /nfq-cluster|table/);
      await install(options(at), mechanism);
      await assert.rejects(install(impossible, mechanism), { code: 'ERR_RULES' });
      assert.match(rules(at.node), /nfq-cluster-q10/);
    });
  });
}

const tcpLoose = (at: Lab): number =>
  Number(sh(at.node, 'cat /proc/sys/net/netfilter/nf_conntrack_tcp_loose'));

/** The chains that hang on a hook, with the handles that only a new chain would change. */
const baseChains = (at: Lab): string[] =>
  sh(at.node, 'nft -a list ruleset 2>/dev/null').match(/chain \S+ \{ # handle \d+\n\t\ttype/g) ??
  [];

/** Lines of a ruleset that are ours, whatever the order of chains. */
/** Without chains that stand empty until there is a moment to delete them. */
const ours = (at: Lab): string[] =>
  rules(at.node)
    .replace(/\tchain (before|after)-\S+ \{\n\t\ttype [^\n]*\n\t\}\n/g, '')
    .split('\n')
    .filter((line) => /nfq-cluster|wire|other|before-|after-/.test(line))
    .sort();

/** A TCP connection from before there was conntrack. */
async function established(at: Lab): Promise<{ say(): void } & AsyncDisposable> {
  const start = (netns: string, script: string) =>
    spawn('nsenter', [`--net=${netns}`, process.execPath, '-e', script], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
  const server = start(
    at.node,
    `require('net').createServer(() => {}).listen(7777, () => console.log('up')); process.stdin.on('end', () => process.exit()).resume()`,
  );
  await once(server.stdout, 'data');
  const client = start(
    at.client,
    `const s = require('net').connect(7777, '${NODE4}', () => console.log('up')); process.stdin.on('data', () => s.write('x')).on('end', () => process.exit())`,
  );
  await once(client.stdout, 'data');
  return {
    say: () => client.stdin.write('say'),
    [Symbol.asyncDispose]: async () => {
      const ended = [client, server].map((child) => once(child, 'close'));
      client.stdin.end();
      server.stdin.end();
      await Promise.all(ended);
    },
  };
}
