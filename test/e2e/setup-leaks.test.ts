/*
 * Order: while a setup is applied, used, killed, used again and reverted, a neighbour asks all the time who
 * has the cluster addresses, and strangers send to them. Nothing on the wire may tell the node's own MAC for
 * them, and nothing may be accepted that the node does not own.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { apply, Hasher, open, revert } from '../../src/index.js';
import { capture } from '../support/capture.js';
import { inject } from '../support/inject.js';
import { arpRequest, solicitation, told } from '../support/neighbours.js';
import { bytes, udp } from '../support/packets.js';
import { cli, share } from '../support/processes.js';
import { random } from '../support/random.js';
import { CLUSTER, clusterOptions, wire, type Wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const PORT = 4000;
const SOURCES = 100;

/** Notes each source of a datagram that local input or forwarding saw. */
const ACCEPTED = `table inet accepted {
  set v4 { type ipv4_addr; size 65535; flags dynamic; }
  set v6 { type ipv6_addr; size 65535; flags dynamic; }
  chain input {
    type filter hook input priority 0
    udp dport ${PORT} add @v4 { ip saddr }
    udp dport ${PORT} add @v6 { ip6 saddr }
  }
  chain forward {
    type filter hook forward priority 0
    udp dport ${PORT} add @v4 { ip saddr }
    udp dport ${PORT} add @v6 { ip6 saddr }
  }
}`;

interface Listing {
  nftables: { set?: { elem?: string[] } }[];
}

async function accepted({ node }: Wire): Promise<string[]> {
  const text = await node.run('nft', ['-j', 'list', 'table', 'inet', 'accepted']);
  return (JSON.parse(text) as Listing).nftables.flatMap(({ set }) => set?.elem ?? []);
}

const numbers = random('leaks');
const strangers = Array.from({ length: SOURCES }, () => [numbers.ipv4(), numbers.ipv6()]).flat();
const frames = strangers.flatMap((src) => {
  const dst = src.includes(':') ? CLUSTER.ipv6 : CLUSTER.ipv4;
  return [
    udp({ src, dst, dport: PORT, ethDst: CLUSTER.mac }),
    arpRequest(CLUSTER.ipv4),
    solicitation(CLUSTER.ipv6),
  ];
});

/** Asks and sends until it is stopped. */
function besiege({ sender }: Wire): { stop(): Promise<void> } {
  const ending = new AbortController();
  const done = (async () => {
    while (!ending.signal.aborted) await inject(sender, 'eth0', frames, { rate: 4000 });
  })();
  return {
    async stop() {
      ending.abort();
      await done;
    },
  };
}

const shared = [
  ...['--address', `eth0=${CLUSTER.ipv4}/24`, '--address', `eth0=${CLUSTER.ipv6}/64`],
  ...['--mac', `eth0=${CLUSTER.mac}`],
];

describe('a node that is asked all the time', { skip }, () => {
  const besieged = (what: string, during: (at: Wire) => Promise<void>, owns: boolean): void => {
    test(what, async () => {
      await using at = await wire();
      await at.node.run('nft', ['-f', '-'], ACCEPTED);
      await using seen = await capture(at.sender, 'eth0', 'inbound and (arp or icmp6)');
      const siege = besiege(at);
      await during(at);
      await siege.stop();
      const ours = [CLUSTER.ipv4, CLUSTER.ipv6].map((address) => bytes(address).toString('hex'));
      const answers = seen.frames.flatMap((frame) => told(frame) ?? []);
      const about = answers.filter(({ address }) => ours.includes(address));
      assert.ok(about.length > 20, `${about.length} answers`);
      assert.deepEqual(
        about.filter(({ mac, right }) => mac !== CLUSTER.mac || !right),
        [],
      );
      const hasher = new Hasher({ totalNodes: 2, hashSeed: 1 });
      const sources = await accepted(at);
      assert.deepEqual(
        sources.filter((source) => hasher.node(source) !== 1),
        [],
      );
      assert.equal(sources.length > 0, owns);
    });
  };

  besieged(
    'tells and accepts nothing wrong while it is set up and taken back, again and again',
    async ({ node }) => {
      for (let round = 0; round < 3; round++) {
        await apply(clusterOptions(node));
        await apply(clusterOptions(node));
        await revert({ netns: node.path });
      }
    },
    false,
  );

  besieged(
    'nor while an engine comes, goes, and comes over what stands',
    async ({ node }) => {
      await (await open(clusterOptions(node))).close();
      await apply(clusterOptions(node));
      await (await open(clusterOptions(node))).close();
      await revert({ netns: node.path });
    },
    true,
  );

  besieged(
    'nor when it is killed, started again, and stopped',
    async ({ node }) => {
      const args = [
        'run',
        '-i',
        'eth0',
        ...shared,
        ...share(1, 2, 1),
        '--control',
        'none',
        '--json',
      ];
      const killed = cli(args, { namespace: node });
      await killed.event('ready');
      await killed.event('stats');
      killed.child.kill('SIGKILL');
      await killed.outcome;
      const again = cli(args, { namespace: node });
      await again.event('ready');
      again.child.kill('SIGTERM');
      assert.equal((await again.outcome).status, 0);
    },
    true,
  );
});
