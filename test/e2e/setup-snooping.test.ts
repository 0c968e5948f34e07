/*
 * A bridge with IGMP snooping: a joined group is learnt, and either form of MAC arrives. Once there is a querier, only
 * by ports that lead to routers.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { apply, revert, type InterfaceOptions } from '../../src/index.js';
import { Namespace } from '../../src/lab/namespaces.js';
import { capture } from '../support/capture.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { waitFor } from '../support/processes.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const GROUP = '239.192.2.10';
const ADDRESS = '192.0.2.10';

/** A client at port p0 and a node at port p1, of a bridge that snoops. */
async function snooping(): Promise<{ bridge: Namespace; client: Namespace; node: Namespace }> {
  const [bridge, client, node] = (await Promise.all(
    Array.from({ length: 3 }, () => Namespace.create()),
  )) as [Namespace, Namespace, Namespace];
  await bridge.ip(
    'link add br0 type bridge mcast_snooping 1 stp_state 0',
    // Hundredths of a second for which a new querier does not count, 10 s by default.
    'link set br0 type bridge mcast_query_response_interval 10',
  );
  await bridge.ip('link set br0 up');
  for (const [port, member] of [client, node].entries()) {
    await bridge.veth(`p${port}`, member, 'eth0');
    await bridge.ip(`link set p${port} master br0 up`);
    await member.ip('link set lo up', 'link set eth0 up');
  }
  return { bridge, client, node };
}

const BROADCAST = 'ff:ff:ff:ff:ff:ff';

const learnt = async (bridge: Namespace): Promise<boolean> =>
  (await bridge.run('bridge', ['mdb', 'show'])).includes(`port p1 grp ${GROUP} `);

describe('behind a bridge that snoops', { skip }, () => {
  const forms: [string, Partial<InterfaceOptions>, string][] = [
    ['the MAC of a joined group', { group: GROUP }, '01:00:5e:40:02:0a'],
    ['a plain MAC', { mac: '03:00:c0:00:02:0a' }, '03:00:c0:00:02:0a'],
  ];
  for (const [title, shared, mac] of forms) {
    test(`frames for ${title} arrive`, async () => {
      const { bridge, client, node } = await snooping();
      await using _bridge = bridge;
      await using _client = client;
      await using _node = node;
      const interfaces = [{ name: 'eth0', addresses: [`${ADDRESS}/24`], ...shared }];
      const share = { totalNodes: 1, localNode: 1, hashSeed: 0 };
      await apply({ interfaces, ...share, netns: node.path });
      if (shared.group !== undefined) {
        await waitFor('the bridge has learnt the group', () => learnt(bridge));
      }
      await using seen = await capture(node, 'eth0', 'udp port 4000');
      let sport = 1024;
      const arrives = async (): Promise<boolean> => {
        const ports = { sport: (sport += 1), dport: 4000 };
        const frame = udp({ src: '192.0.2.1', dst: ADDRESS, ethDst: mac, ...ports });
        // Behind it one that every bridge floods: once it is there, so is the other, or never.
        const last = udp({ src: '192.0.2.1', dst: '192.0.2.255', ethDst: BROADCAST, ...ports });
        await inject(client, 'eth0', [frame, last]);
        await seen.seen('the frame behind it', (got) => got.equals(last));
        return seen.frames.some((got) => got.equals(frame));
      };
      await waitFor('a frame has arrived', arrives);
      await bridge.ip('link set br0 type bridge mcast_querier 1');
      await waitFor('none arrives', async () => !(await arrives()));
      await bridge.ip('link set p1 type bridge_slave mcast_router 2');
      await waitFor('a frame has arrived', arrives);
      await revert({ netns: node.path });
      await waitFor('the bridge has forgotten the group', async () => !(await learnt(bridge)));
      assert.doesNotMatch(await node.run('ip', ['maddress', 'show']), new RegExp(mac));
    });
  }
});
