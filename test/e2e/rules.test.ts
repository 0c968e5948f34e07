/* The rules as each mechanism installs them, while nobody listens on the queue. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { range } from '../../src/options/buckets.js';
import { revert } from '../../src/index.js';
import { install } from '../../src/setup/setup.js';
import { inject } from '../support/inject.js';
import { tcp, udp } from '../support/packets.js';
import { waitFor } from '../support/processes.js';
import { mechanismsHere, options, OTHER, twoWires } from '../support/rules-lab.js';
import { counter, rulesOf } from '../support/state.js';
import { CLUSTER_MAC, NODE, SENDER, type Wire } from '../support/wire.js';

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

const skip = process.getuid?.() === 0 ? false : 'needs root';
const mechanisms = skip === false ? await mechanismsHere() : [];

for (const [title, mechanism] of mechanisms) {
  describe(`rules by ${title}`, { skip }, () => {
    it("leave the user's rules as they were", async () => {
      await using at = await twoWires();
      await at.node.run('sh', ['-e', '-c', USERS_RULES]);
      const before = await rules(at);
      const installed = await install(options(at, { action: 'mark', queues: [10, 11] }), mechanism);
      await installed.stopQueueing();
      await installed.remove();
      await installed.remove();
      assert.equal(await rules(at), before);
    });

    it('are the same when installed twice, by the same hooks', async () => {
      await using at = await twoWires();
      await install(options(at), mechanism);
      const first = await rules(at);
      const hooks = await baseChains(at);
      assert.ok(hooks.length >= 1);
      const installed = await install(options(at), mechanism);
      assert.equal(await rules(at), first);
      // To delete a base chain would drop every packet held for any queue of the namespace.
      assert.deepEqual(await baseChains(at), hooks);
      await installed.stopQueueing();
      assert.deepEqual(await baseChains(at), hooks);
      await installed.remove();
      assert.doesNotMatch(await rules(at), /nfq-cluster|PREROUTING -j|table/);
    });

    it('replace what a killed run of the same name left, with other options', async () => {
      await using fresh = await twoWires();
      await using at = await twoWires();
      const name = 'n';
      const next = { name, queues: [20, 21], interfaces: ['eth1'], action: 'mark' } as const;
      await install(options(fresh, next), mechanism);
      await install(options(at, { name }), mechanism);
      const installed = await install(options(at, next), mechanism);
      assert.deepEqual(
        (await rules(at)).split('\n').sort(),
        (await rules(fresh)).split('\n').sort(),
      );
      await installed.remove();
      assert.doesNotMatch(await rules(at), /nfq-cluster|table/);
    });

    it('replace what another mechanism left', async () => {
      await using fresh = await twoWires();
      await install(options(fresh), mechanism);
      for (const [, other] of mechanisms) {
        await using at = await twoWires();
        await install(options(at), other);
        const installed = await install(options(at), mechanism);
        assert.deepEqual(await ours(at), await ours(fresh));
        await installed.remove();
        assert.doesNotMatch(await rules(at), /nfq-cluster|table/);
      }
    });

    it('drop what enters our interfaces while nobody listens, and nothing else', async () => {
      await using at = await twoWires();
      await probe(at);
      await install(options(at), mechanism);
      await send(at, 7, 5);
      assert.equal(await counted(at, 'passed'), 0);
      const others = [OTHER.ipv4, OTHER.ipv6].map((dst) => datagram(dst, 7, OTHER.mac));
      await inject(at.sender, 'eth1', others);
      await until(at, 'passed', 2);
    });

    it('let neighbour discovery pass', async () => {
      for (const action of ['drop', 'mark'] as const) {
        await using at = await twoWires();
        const other = action === 'mark' ? '0xffff' : '0';
        await at.node.run('nft', [
          `table inet users { chain c { type filter hook prerouting priority 0; iifname "eth0" meta mark != ${other} drop; }; }`,
        ]);
        const installed = await install(options(at, { action }), mechanism);
        for (const phase of ['queueing', 'closing']) {
          await at.sender.ip(`neighbour del ${NODE.ipv6} dev eth0`);
          await at.sender.run(process.execPath, ['-e', SEND_TO_NODE]);
          await waitFor(`the sender knows the node's MAC, ${phase}, action ${action}`, async () =>
            /lladdr .* (REACHABLE|DELAY|STALE)/.test(
              await at.sender.run('ip', ['-6', 'neighbour', 'show', NODE.ipv6, 'dev', 'eth0']),
            ),
          );
          await installed.stopQueueing();
        }
      }
    });

    it('drop untracked packets', async () => {
      await using at = await twoWires();
      await probe(at, NOTRACK);
      await install(options(at), mechanism);
      await send(at, 9, 3);
      assert.equal(await counted(at, 'passed'), 0);
    });

    it('let untracked packets pass under action mark, without our bits and with all others', async () => {
      await using at = await twoWires();
      await probe(
        at,
        `udp dport 9 meta mark set 0xffffffff; ${NOTRACK}`,
        'udp dport 9 meta mark 0x3fff0000 counter name expected;',
      );
      await install(options(at, { action: 'mark' }), mechanism);
      await send(at, 9, 3);
      await until(at, 'passed', 6);
      assert.equal(await counted(at, 'expected'), 6);
    });

    it("let a user's mangle rule see a packet without our bits", async () => {
      await using at = await twoWires();
      await probe(at, `meta pkttype set multicast; ${NOTRACK}`);
      // As in the man page, with all 32 bits compared.
      for (const program of ['iptables-nft', 'ip6tables-nft']) {
        const drop = '-t mangle -A PREROUTING -i eth0 -p udp -m mark ! --mark 0x0 -j DROP';
        await at.node.run(program, drop.split(' '));
      }
      await install(options(at, { action: 'mark' }), mechanism);
      await send(at, 9, 3);
      await until(at, 'passed', 6);
    });

    it('drop INVALID packets, and let them pass unmarked under action mark', async () => {
      for (const [action, passing] of [
        ['drop', 0],
        ['mark', 2],
      ] as const) {
        await using at = await twoWires();
        await probe(at, '', 'ct state invalid meta mark 0 counter name expected;');
        await install(options(at, { action }), mechanism);
        // Of no connection, which a setup has the kernel not pick up.
        const frames = [NODE.ipv4, NODE.ipv6].map((dst) =>
          tcp({ src: sourceFor(dst), dst, flags: ['ack'] }),
        );
        await inject(at.sender, 'eth0', frames);
        await until(at, 'arrived', 2);
        assert.equal(await counted(at, 'passed'), passing);
        assert.equal(await counted(at, 'expected'), passing);
      }
    });

    it('make a unicast packet in a multicast frame a HOST packet', async () => {
      await using at = await twoWires();
      await probe(
        at,
        'meta l4proto tcp notrack;',
        'meta l4proto tcp meta pkttype host counter name expected;',
      );
      const frames = [NODE.ipv4, NODE.ipv6].map((dst) =>
        tcp({ src: sourceFor(dst), dst, ethDst: CLUSTER_MAC }),
      );
      await inject(at.sender, 'eth0', frames);
      await until(at, 'passed', 2);
      assert.equal(await counted(at, 'expected'), 0);
      await install(options(at, { action: 'mark' }), mechanism);
      await inject(at.sender, 'eth0', frames);
      await until(at, 'passed', 4);
      assert.equal(await counted(at, 'expected'), 2);
    });

    it('stay closed between stopQueueing and remove', async () => {
      await using at = await twoWires();
      await probe(at);
      const installed = await install(options(at), mechanism);
      await installed.stopQueueing();
      await installed.stopQueueing();
      assert.doesNotMatch(await rules(at), /queue num|queue to|NFQUEUE/);
      await send(at, 7, 5);
      assert.equal(await counted(at, 'passed'), 0);
      await installed.remove();
      await send(at, 7, 2);
      await until(at, 'passed', 4);
    });

    it('let packets pass unmarked between stopQueueing and remove under action mark', async () => {
      await using at = await twoWires();
      await probe(at, 'meta mark set 0x1ffff;', 'meta mark 0x10000 counter name expected;');
      const installed = await install(options(at, { action: 'mark' }), mechanism);
      await installed.stopQueueing();
      await send(at, 7, 2);
      await until(at, 'passed', 4);
      assert.equal(await counted(at, 'expected'), 4);
    });

    it('of two engines in one namespace do not touch each other', async () => {
      await using at = await twoWires();
      const [a, b] = [
        options(at, { name: 'a' }),
        options(at, { name: 'b', queues: [11], interfaces: ['eth1'] }),
      ];
      const alone = await install(b, mechanism);
      const before = await ours(at);
      await alone.remove();
      assert.equal(await tcpLoose(at), 1);
      for (const installing of [
        async () => Promise.all([install(a, mechanism), install(b, mechanism)]),
        async () => [await install(a, mechanism), await install(b, mechanism)] as const,
        async () => [await install(b, mechanism), await install(a, mechanism)].toReversed(),
      ]) {
        const [first, second] = await installing();
        await first.remove();
        assert.deepEqual(await ours(at), before);
        assert.equal(await tcpLoose(at), 0);
        await second.remove();
        assert.doesNotMatch(await rules(at), /nfq-cluster|table/);
        assert.equal(await tcpLoose(at), 1);
      }
    });

    it('of a killed engine, reverted, leave another what both need', async () => {
      await using at = await twoWires();
      const [a, b] = [
        options(at, { name: 'a' }),
        options(at, { name: 'b', queues: [11], interfaces: ['eth1'] }),
      ];
      for (const [killed, running] of [
        [a, b],
        [b, a],
      ] as const) {
        await install(a, mechanism);
        await install(b, mechanism);
        // Of the one that still runs.
        const installed = await install(running, mechanism);
        await revert({ name: killed.name, netns: at.node.path });
        assert.equal(await tcpLoose(at), 0);
        await installed.remove();
        assert.equal(await tcpLoose(at), 1);
      }
    });

    it('removed together leave the kernel as it was', async () => {
      await using at = await twoWires();
      const installed = [
        await install(options(at, { name: 'a' }), mechanism),
        await install(options(at, { name: 'b', queues: [11], interfaces: ['eth1'] }), mechanism),
      ];
      assert.equal(await tcpLoose(at), 0);
      await Promise.all(installed.map((setup) => setup.remove()));
      assert.equal(await tcpLoose(at), 1);
      assert.doesNotMatch(await rules(at), /nfq-cluster|table/);
    });

    it('come while others go, with all that they need', async () => {
      await using at = await twoWires();
      let last = await install(options(at, { name: 'n0' }), mechanism);
      for (const round of [1, 2, 3, 4]) {
        const next = options(at, { name: `n${round}`, queues: [10 + round] });
        const [installed] = await Promise.all([install(next, mechanism), last.remove()]);
        assert.equal(await tcpLoose(at), 0);
        last = installed;
      }
      await last.remove();
      assert.equal(await tcpLoose(at), 1);
    });

    it('are undone as a whole where a part is refused', async () => {
      await using at = await twoWires();
      const impossible = { ...options(at), queues: [70_000] };
      await assert.rejects(install(impossible, mechanism), { code: 'ERR_RULES' });
      assert.doesNotMatch(await rules(at), /nfq-cluster|table/);
      await install(options(at), mechanism);
      await assert.rejects(install(impossible, mechanism), { code: 'ERR_RULES' });
      assert.match(await rules(at), /nfq-cluster-q10/);
    });
  });
}

/** Counters of the first and of the last look at a packet: a table of the tester's, in front of and behind ours. */
async function probe({ node }: Wire, early = '', late = ''): Promise<void> {
  const ours = 'iifname { "eth0", "eth1" } meta l4proto { tcp, udp }';
  const table = `table inet probe {
    counter arrived { }
    counter passed { }
    counter expected { }
    chain first { type filter hook prerouting priority -310; ${ours} counter name arrived; ${early} }
    chain last { type filter hook prerouting priority 10; ${ours} counter name passed; ${late} }
  }`;
  await node.run('nft', ['-f', '-'], table);
}

const counted = ({ node }: Wire, name: string): Promise<number> => counter(node, 'probe', name);

const until = (at: Wire, name: string, count: number): Promise<void> =>
  waitFor(`${count} ${name}`, async () => (await counted(at, name)) === count);

const sourceFor = (address: string): string => (address.includes(':') ? SENDER.ipv6 : SENDER.ipv4);

const datagram = (dst: string, dport: number, ethDst = NODE.mac): Buffer =>
  udp({ src: sourceFor(dst), dst, dport, ethDst });

/** Sends the node so many datagrams by IPv4, and as many by IPv6; resolves once they have arrived. */
async function send(at: Wire, port: number, count: number): Promise<void> {
  const already = await counted(at, 'arrived');
  const frames = range(count).flatMap(() =>
    [NODE.ipv4, NODE.ipv6].map((dst) => datagram(dst, port)),
  );
  await inject(at.sender, 'eth0', frames);
  await until(at, 'arrived', already + frames.length);
}

/** By the kernel, which resolves the node's MAC for it. */
const SEND_TO_NODE = `const socket = require('dgram').createSocket('udp6');
  socket.send('x', 7, '${NODE.ipv6}', () => socket.close());`;

/** Without what tells one run from another. */
const rules = async ({ node }: Wire): Promise<string> =>
  (await rulesOf(node)).replace(/\n?\tchain run-\S+ \{\n\t\}\n/g, '');

const tcpLoose = async ({ node }: Wire): Promise<number> =>
  Number(await node.run('cat', ['/proc/sys/net/netfilter/nf_conntrack_tcp_loose']));

/** The chains that hang on a hook, with the handles that only a new chain would change. */
async function baseChains({ node }: Wire): Promise<string[]> {
  const listed = await node.run('nft', ['-a', 'list', 'ruleset']);
  return listed.match(/chain \S+ \{ # handle \d+\n\t\ttype/g) ?? [];
}

/** Lines that are ours, whatever the order of chains; without those that stand empty until they can be deleted. */
const ours = async (at: Wire): Promise<string[]> =>
  (await rules(at))
    .replace(/\tchain (before|after)-\S+ \{\n\t\ttype [^\n]*\n\t\}\n/g, '')
    .split('\n')
    .filter((line) => /nfq-cluster|eth0|eth1|before-|after-/.test(line))
    .sort();
