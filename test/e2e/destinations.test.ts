/* Which packets are the cluster's: all that enter, or those to its addresses. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { open, type InterfaceOptions, type Options } from '../../src/index.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { waitFor } from '../support/processes.js';
import { CLUSTER, CLUSTER_MAC, NODE, wire, type Wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const SOURCES = Array.from({ length: 20 }, (_, at) => `10.1.0.${at + 30}`);
const SOURCES6 = Array.from({ length: 20 }, (_, at) => `fd01::${at + 30}`);

/** Where a packet is told by its destination port. */
const PORT = { cluster: 1001, own: 1002 };
const kinds = ['cluster', 'own'] as const;

const TABLE = `table inet seen {
${kinds.map((kind) => `counter ${kind} { }\ncounter ${kind}-host { }\ncounter ${kind}-owned { }`).join('\n')}
  chain before { type filter hook prerouting priority -300; meta l4proto udp meta mark set 0x00a00000; }
  chain behind {
    type filter hook prerouting priority 100
    ${kinds
      .map(
        (kind) => `udp dport ${PORT[kind]} counter name ${kind}
    udp dport ${PORT[kind]} meta pkttype host counter name ${kind}-host
    udp dport ${PORT[kind]} meta mark & 0xffff == 0xffff counter name ${kind}-owned`,
      )
      .join('\n')}
    meta l4proto udp meta mark & 0xf0f00000 != 0x00a00000 drop
  }
}`;

const frames = (ethDst: string): Buffer[] => {
  const to = (src: string, dst: string, dport: number): Buffer => udp({ src, dst, dport, ethDst });
  return [
    ...SOURCES.flatMap((src) => [
      to(src, CLUSTER.ipv4, PORT.cluster),
      to(src, NODE.ipv4, PORT.own),
    ]),
    ...SOURCES6.flatMap((src) => [
      to(src, CLUSTER.ipv6, PORT.cluster),
      to(src, NODE.ipv6, PORT.own),
    ]),
  ];
};

type Seen = Record<string, number>;

async function seen({ node }: Wire): Promise<Seen> {
  const listed = await node.run('nft', ['list', 'counters', 'table', 'inet', 'seen']);
  return Object.fromEntries(
    [...listed.matchAll(/counter (\S+) \{\s+packets (\d+)/g)].map(([, name, count]) => [
      name!,
      Number(count),
    ]),
  );
}

/** What gets in of 20 IPv4 and 20 IPv6 sources' packets to the cluster's addresses and to the node's own. */
async function arriving(
  entry: Partial<InterfaceOptions>,
  more: Partial<Options>,
  ethDst: string,
): Promise<Seen> {
  await using lab = await wire();
  await lab.node.run('nft', ['-f', '-'], TABLE);
  await using engine = await open({
    interfaces: [
      {
        name: 'eth0',
        addresses: [`${CLUSTER.ipv4}/24`, `${CLUSTER.ipv6}/64`],
        mac: CLUSTER_MAC,
        ...entry,
      },
    ],
    totalNodes: 2,
    ownership: { nodes: [] },
    hashSeed: 1,
    rules: 'auto',
    netns: lab.node.path,
    ...more,
  });
  await inject(lab.sender, 'eth0', frames(ethDst));
  const foreign = entry.destinations === 'all' ? 80 : 40;
  await waitFor('the decisions', () => engine.stats().received >= foreign);
  const counts = await (async () => {
    let last: Seen = {};
    await waitFor('the last packet', async () => {
      last = await seen(lab);
      return entry.destinations === 'all' || last['own'] === 40;
    });
    return last;
  })();
  return { ...counts, decided: engine.stats().received };
}

describe('packets to other addresses than the cluster’s', { skip }, () => {
  test('pass undecided where the interface says so, their frames and marks as they came', async () => {
    const narrow = { destinations: 'addresses' } as const;
    const dropping = await arriving(narrow, {}, CLUSTER_MAC);
    assert.deepEqual(dropping, {
      ...{ cluster: 0, 'cluster-host': 0, 'cluster-owned': 0 },
      ...{ own: 40, 'own-host': 0, 'own-owned': 0, decided: 40 },
    });
    const unicast = await arriving(narrow, {}, NODE.mac);
    assert.deepEqual([unicast['own'], unicast['own-host'], unicast.decided], [40, 40, 40]);
  });

  test('carry the owned mark under action mark, so that no rule drops them', async () => {
    const seen = await arriving({ destinations: 'addresses' }, { action: 'mark' }, CLUSTER_MAC);
    assert.deepEqual(seen, {
      ...{ cluster: 40, 'cluster-host': 40, 'cluster-owned': 0 },
      ...{ own: 40, 'own-host': 0, 'own-owned': 40, decided: 40 },
    });
  });

  test('are decided otherwise', async () => {
    const seen = await arriving({ destinations: 'all' }, {}, CLUSTER_MAC);
    assert.deepEqual([seen['own'], seen['cluster'], seen.decided], [0, 0, 80]);
  });
});
