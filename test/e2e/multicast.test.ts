/* An address behind a multicast MAC: TCP to it works with the fix of pkt_type, and not without. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { open } from '../../src/index.js';
import { Namespace } from '../../src/lab/namespaces.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { waitFor } from '../support/processes.js';
import { echoServer, tcpExchange } from '../support/tcp.js';
import { CLUSTER_MAC, NODE, owningAll, SENDER, wire, type Wire } from '../support/wire.js';

const PORT = 7;
const skip = process.getuid?.() === 0 ? false : 'needs root';

async function multicastWire(): Promise<Wire> {
  const lab = await wire({ nodeMac: CLUSTER_MAC });
  await lab.node.run('ip', ['maddress', 'add', CLUSTER_MAC, 'dev', 'eth0']);
  return lab;
}

for (const [family, address] of [
  ['IPv4', NODE.ipv4],
  ['IPv6', NODE.ipv6],
] as const) {
  describe(`TCP over ${family} to a multicast MAC`, { skip }, () => {
    for (const action of ['drop', 'mark'] as const) {
      test(`is answered, under action ${action}`, async () => {
        await using lab = await multicastWire();
        await using engine = await open(owningAll(lab.node, { action }));
        await echoServer(lab.node, address, PORT);
        assert.equal(await tcpExchange(lab.sender, address, PORT, 'hello'), 'hello');
        const { fixups, owned } = engine.stats();
        assert.ok(owned >= 4, `${owned} packets owned`);
        assert.equal(fixups, owned, 'every packet came in a multicast frame');
      });
    }

    test('is not answered without the fix', async () => {
      await using lab = await multicastWire();
      /* Packets are queued and accepted, but no rule notes or sets pkt_type. */
      const xtables = family === 'IPv4' ? 'iptables' : 'ip6tables';
      await using engine = await open(owningAll(lab.node, { rules: 'none' }));
      await lab.node.run(xtables, [
        ...['-t', 'mangle', '-A', 'PREROUTING', '-i', 'eth0'],
        ...['-j', 'NFQUEUE', '--queue-num', '0'],
      ]);
      await echoServer(lab.node, address, PORT);
      let answered = false;
      const exchange = tcpExchange(lab.sender, address, PORT, 'hello').then(
        () => (answered = true),
        () => false,
      );
      /* The first packet and its first retransmission were accepted, and nobody answered. */
      await waitFor('the retransmission', () => engine.stats().owned >= 2);
      assert.equal(answered, false);
      assert.equal(engine.stats().fixups, 0);
      await lab.sender.close();
      await exchange;
    });

    test('is forwarded', async () => {
      await using lab = await multicastWire();
      await using backend = await behind(lab);
      await using engine = await open(owningAll(lab.node));
      const { ipv4, ipv6 } = BACKEND;
      const target = family === 'IPv4' ? ipv4 : ipv6;
      await echoServer(backend, target, PORT);
      assert.equal(await tcpExchange(lab.sender, target, PORT, 'hello'), 'hello');
      assert.ok(engine.stats().fixups >= 4);
    });
  });
}

test('a packet to a multicast address keeps its pkt_type', { skip }, async () => {
  await using lab = await multicastWire();
  await using engine = await open(owningAll(lab.node));
  const counter = `table inet seen {
    counter multicast { }
    counter host { }
    chain behind {
      type filter hook prerouting priority 0
      ip daddr 224.0.0.251 meta pkttype multicast counter name multicast
      ip daddr 224.0.0.251 meta pkttype host counter name host
    }
  }`;
  await lab.node.run('nft', ['-f', '-'], counter);
  await inject(lab.sender, 'eth0', [
    udp({ src: SENDER.ipv4, dst: '224.0.0.251', ethDst: '01:00:5e:00:00:fb' }),
  ]);
  await waitFor('the packet', () => engine.stats().owned === 1);
  const listed = await lab.node.run('nft', ['list', 'counters', 'table', 'inet', 'seen']);
  assert.match(listed, /counter multicast \{\s+packets 1 /);
  assert.match(listed, /counter host \{\s+packets 0 /);
  assert.equal(engine.stats().fixups, 0);
});

const BACKEND = { ipv4: '10.2.0.2', ipv6: 'fd02::2', mac: '02:00:00:00:00:03' };

/** A host behind the node, on an interface that is none of the engine's. */
async function behind({ sender, node }: Wire): Promise<Namespace> {
  const backend = await Namespace.create();
  await node.veth('eth1', backend, 'eth0');
  await node.sysctl({ 'ipv4/ip_forward': 1, 'ipv6/conf/all/forwarding': 1 });
  await node.ip(
    'link set eth1 up',
    'address add 10.2.0.1/24 dev eth1',
    'address add fd02::1/64 dev eth1 nodad',
    `neighbour add ${BACKEND.ipv6} lladdr ${BACKEND.mac} dev eth1 nud permanent`,
  );
  await backend.ip(
    'link set lo up',
    `link set eth0 address ${BACKEND.mac} up`,
    `address add ${BACKEND.ipv4}/24 dev eth0`,
    `address add ${BACKEND.ipv6}/64 dev eth0 nodad`,
    'route add default via 10.2.0.1',
    'route add default via fd02::1',
  );
  await sender.ip(`route add 10.2.0.0/24 via ${NODE.ipv4}`, `route add fd02::/64 via ${NODE.ipv6}`);
  return backend;
}
