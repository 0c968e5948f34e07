/* Whose is a packet of a connection? The kernel's match and the engine must agree on each. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Options } from '../../src/index.js';
import {
  attaches,
  engineOn,
  GATEWAY,
  gateway,
  SERVER,
  skip,
  source,
  SOURCES_OF_TRUTH,
  type Class,
  type Judgement,
} from '../support/judged-gateway.js';
import { ask, PORT, type Exchange } from '../support/exchange.js';
import { serve } from '../support/gateways.js';
import { cli } from '../support/processes.js';

const CLOSED = 7008;
const FAMILIES = [4, 6] as const;
const COUNT = 24;
const SOURCES = {
  4: Array.from({ length: COUNT }, (_, index) => source(4, index)),
  6: Array.from({ length: COUNT }, (_, index) => source(6, index)),
};

const WAYS: Pick<Options, 'conntrack' | 'offload'>[] = [
  ...SOURCES_OF_TRUTH.map((conntrack) => ({ conntrack })),
  { offload: ['flows'] },
  { offload: ['sources'] },
];

/** Exchanges with the server by TCP, of so many bytes, and by UDP. */
const byBoth = (sources: typeof SOURCES, bytes = 10): Exchange[] =>
  FAMILIES.flatMap((family) => {
    const each = { to: SERVER[family], sources: sources[family] };
    return [
      { how: 'tcp', bytes, ...each },
      { how: 'udp', ...each },
    ];
  });

/** Datagrams to the server that are refused. */
const lost: Exchange[] = FAMILIES.map((family) => ({
  how: 'lost',
  to: SERVER[family],
  port: CLOSED,
  sources: SOURCES[family],
}));

/** Twice to $1, from each of the other arguments. */
const PINGS = `
  to=$1; shift
  all=
  for from; do ping -c 2 -i 0.2 -I "$from" "$to" >/dev/null & all="$all $!"; done
  for one in $all; do wait "$one"; done`;

/** All that the classes saw was judged alike, and each class saw packets of both kinds. */
function assertAgreed(judged: Record<Class, Judgement>, classes: readonly Class[]): void {
  for (const [name, { kernelOnly, engineOnly }] of Object.entries(judged)) {
    assert.deepEqual({ kernelOnly, engineOnly }, { kernelOnly: 0, engineOnly: 0 }, name);
  }
  for (const name of classes) {
    assert.ok(judged[name].both > 0, `${name}: none was owned`);
    assert.ok(judged[name].neither > 0, `${name}: none was foreign`);
  }
  assert.equal(judged.invalid.both, 0, 'an INVALID packet was owned');
}

describe('the engine agrees with the kernel on', { skip }, () => {
  for (const way of WAYS) {
    describe(JSON.stringify(way), () => {
      test('connections by TCP and UDP, and their replies', async () => {
        await using lab = await gateway();
        await using _engine = await engineOn(lab, way);
        await lab.judge();
        await serve(lab.server, Object.values(SERVER), PORT);
        await ask(lab.client, byBoth(SOURCES, 20_000));
        assertAgreed(await lab.judged(), ['new', 'original', 'reply']);
      });

      test('connections of the gateway itself', async () => {
        await using lab = await gateway();
        await using engine = await engineOn(lab, way);
        await lab.judge();
        const locals = {
          4: Array.from({ length: COUNT }, (_, index) => `10.94.0.${index + 1}`),
          6: Array.from({ length: COUNT }, (_, index) => `fd94::${(index + 1).toString(16)}`),
        };
        await lab.gateway.sysctl({ 'ipv6/ip_nonlocal_bind': 1 });
        await lab.gateway.ip(
          'route add local 10.94.0.0/24 dev lo',
          'route add local fd94::/64 dev lo',
        );
        await serve(lab.server, Object.values(SERVER), PORT);
        await ask(lab.gateway, byBoth(locals));
        const judged = await lab.judged();
        assertAgreed(judged, ['reply']);
        assert.equal(engine.stats().unknown, 0);
      });

      test('ICMP errors, in both directions', async () => {
        await using lab = await gateway();
        await using _engine = await engineOn(lab, way);
        await lab.judge();
        await ask(lab.client, lost);
        await ask(
          lab.server,
          SOURCES[4].map((to) => ({ how: 'lost', to, port: CLOSED, sources: [SERVER[4]] })),
        );
        const judged = await lab.judged();
        assertAgreed(judged, ['related-reply']);
        assert.ok(judged['related-reply'].both + judged['related-reply'].neither >= 3 * COUNT);
      });

      test('pings, and fragments of large datagrams', async () => {
        await using lab = await gateway();
        await using _engine = await engineOn(lab, way);
        await lab.judge();
        await serve(lab.server, Object.values(SERVER), PORT);
        for (const family of FAMILIES) {
          const [to, sources] = [SERVER[family], SOURCES[family]];
          await ask(lab.client, [{ how: 'udp', to, bytes: 4000, sources }]);
          await lab.client.run('sh', ['-ec', PINGS, 'sh', to, ...sources]);
        }
        assertAgreed(await lab.judged(), ['new', 'original', 'reply']);
      });

      test('translated connections: masqueraded, SNAT and DNAT', async () => {
        await using lab = await gateway();
        await lab.gateway.run(
          'nft',
          ['-f', '-'],
          `table inet nat {
             chain in { type nat hook prerouting priority dstnat; ip daddr 10.91.0.1 tcp dport 80 dnat ip to ${SERVER[4]}:${PORT}; ip daddr 10.91.0.1 udp dport 80 dnat ip to ${SERVER[4]}:${PORT}; }
             chain out { type nat hook postrouting priority srcnat; oifname inside meta l4proto tcp masquerade; oifname inside ip6 daddr ${SERVER[6]} meta l4proto udp snat ip6 to fd92::77; }
           }`,
        );
        await using _engine = await engineOn(lab, way);
        await lab.judge();
        await lab.gateway.ip('address add fd92::77/128 dev inside nodad');
        await serve(lab.server, Object.values(SERVER), PORT);
        const toGateway = { to: '10.91.0.1', port: 80, sources: SOURCES[4] };
        await ask(lab.client, [
          ...byBoth(SOURCES),
          ...lost,
          { how: 'tcp', ...toGateway },
          { how: 'udp', ...toGateway },
        ]);
        assertAgreed(await lab.judged(), ['new', 'original', 'reply', 'related-reply']);
      });
    });
  }
});

describe('an engine', { skip }, () => {
  test('says which way it follows connections, and why', async () => {
    await using lab = await gateway();
    await using engine = await engineOn(lab, {});
    assert.equal(engine.conntrack.source, attaches ? 'queue' : 'netlink');
    assert.match(engine.conntrack.why, /attache?s? the connection/);
  });

  test('refuses what the kernel has not', { skip: attaches && 'this kernel has it' }, async () => {
    await using lab = await gateway();
    await assert.rejects(engineOn(lab, { conntrack: 'queue' }), {
      code: 'ERR_NO_CONNTRACK',
      errno: 95,
    });
  });

  test('finds the original direction of a reply, before NAT', async () => {
    await using lab = await gateway();
    const nat =
      'table ip t { chain c { type nat hook postrouting priority srcnat; oifname inside masquerade; }; }';
    await lab.gateway.run('nft', [nat]);
    await using engine = await engineOn(lab, {});
    await serve(lab.server, [SERVER[4]], PORT);
    const sport = 4321;
    await ask(lab.client, [{ how: 'udp', to: SERVER[4], sources: [`${SOURCES[4][0]!},${sport}`] }]);
    const original = { src: SOURCES[4][0]!, dst: SERVER[4], protocol: 17, sport, dport: PORT };
    const reply = { src: SERVER[4], dst: GATEWAY[4], protocol: 17, sport: PORT, dport: sport };
    assert.deepEqual(await engine.conntrack.originalOf(reply), original);
    assert.deepEqual(await engine.conntrack.originalOf(original), original);
    assert.equal(await engine.conntrack.masterOf(reply), null);
    assert.equal(await engine.conntrack.originalOf({ ...reply, sport: 1 }), null);
    await assert.rejects(engine.conntrack.originalOf({ ...reply, dst: '::1' }), {
      code: 'ERR_INVALID_OPTION',
    });
    const hashing = ['--cluster-total-nodes', '2', '--cluster-hash-seed', '7'];
    const explained = async (src: string, ...packet: string[]): Promise<unknown> => {
      const args = ['explain', '--src', src, '--json', ...packet];
      const { status, stdout, stderr } = await cli([...args, ...hashing]).outcome;
      assert.equal(status, 0, stderr);
      return JSON.parse(stdout);
    };
    const ports = ['--proto', '17', '--sport', String(PORT), '--dport', String(sport)];
    const to = ['--dst', reply.dst, '--netns', lab.gateway.path];
    const of = (await explained(reply.src, ...to, ...ports)) as {
      key: unknown;
      node: number;
    };
    const alone = (await explained(original.src)) as { node: number };
    assert.deepEqual(of.key, { address: original.src, by: 'original', kept: null });
    assert.equal(of.node, alone.node);
    const unheard = await explained(reply.src, ...to, '--proto', '17');
    assert.deepEqual((unheard as { key: unknown }).key, {
      address: reply.src,
      by: 'packet',
      kept: null,
    });
  });
});
