/* Rules that are imported, loaded into the kernel: it lets in what the imported options own. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Hasher, importRules } from '../../src/index.js';
import type { Namespace } from '../../src/lab/namespaces.js';
import { resolveOptions } from '../../src/options/resolve.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { waitFor } from '../support/processes.js';
import { random } from '../support/random.js';
import { NODE, wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const generator = random('imported rules');
const SOURCES = Array.from({ length: 300 }, () => generator.ipv4());

const NOTES = `table ip noted {
  set sources { type ipv4_addr; size 65535; flags dynamic; }
  counter seen { }
  chain before { type filter hook prerouting priority -300; udp dport 9 counter name seen; }
  chain behind { type filter hook input priority 300; udp dport 9 add @sources { ip saddr }; }
}`;

const cluster = (node: number, rest: string): string =>
  `-A PREROUTING -i eth0 -m cluster --cluster-total-nodes 3 --cluster-local-node ${node} --cluster-hash-seed 5 ${rest}`;
const mangle = (...rules: string[]): string => ['*mangle', ...rules, 'COMMIT', ''].join('\n');
const HASH = 'jhash ct original ip saddr mod 3 seed 5 offset 1';
const chain = (policy: string, ...rules: string[]): string => `table ip x {
  chain p {
    type filter hook prerouting priority mangle; policy ${policy};
    ${rules.join('\n    ')}
  }
}
`;

/** The rules, and how many of 3 nodes they are meant to be. */
const CASES: [title: string, rules: string, owned: number[]][] = [
  ['iptables: two drops', mangle(cluster(2, '-j DROP'), cluster(3, '-j DROP')), [1]],
  [
    'iptables: a drop, an accept, a drop',
    mangle(cluster(2, '-j DROP'), cluster(1, '-j ACCEPT'), cluster(3, '-j DROP')),
    [1],
  ],
  [
    'iptables: two accept, and the rest is dropped',
    mangle(cluster(1, '-j ACCEPT'), cluster(2, '-j RETURN'), '-A PREROUTING -i eth0 -j DROP'),
    [1, 2],
  ],
  [
    'iptables: two mark, and what has no mark is dropped',
    mangle(
      cluster(1, '-j MARK --set-xmark 0x1/0x1'),
      cluster(3, '-j MARK --set-xmark 0x1/0x1'),
      '-A PREROUTING -i eth0 -m mark ! --mark 0x1/0x1 -j DROP',
    ),
    [1, 3],
  ],
  [
    'nft: two drops',
    chain('accept', `iifname eth0 ${HASH} 2 drop`, `iifname eth0 ${HASH} 3 drop`),
    [1],
  ],
  [
    'nft: an accept, then a drop',
    chain('accept', `iifname eth0 ${HASH} 2 accept`, 'iifname eth0 drop'),
    [2],
  ],
  ['nft: an accept, and a policy', chain('drop', `iifname eth0 ${HASH} { 1, 2 } accept`), [1, 2]],
  [
    'nft: a map of verdicts',
    chain('accept', `iifname eth0 ${HASH} vmap { 1 : accept, 2 : return, 3 : drop }`),
    [1, 2],
  ],
  [
    'nft: the hash in the mark, and two drops',
    chain('accept', `iifname eth0 meta mark set ${HASH}`, 'meta mark 2 drop', 'meta mark 3 drop'),
    [1],
  ],
];

async function sources(node: Namespace): Promise<string[]> {
  const text = await node.run('nft', ['-j', 'list', 'set', 'ip', 'noted', 'sources']);
  const { nftables } = JSON.parse(text) as { nftables: { set?: { elem?: string[] } }[] };
  return nftables.flatMap(({ set }) => set?.elem ?? []).sort();
}

describe('what the kernel lets in is what imported rules own', { skip }, () => {
  for (const [title, rules, owned] of CASES) {
    test(title, async () => {
      await using lab = await wire();
      await lab.node.run('nft', ['-f', '-'], NOTES);
      const isNft = title.startsWith('nft');
      await lab.node.run(
        ...((isNft ? ['nft', ['-f', '-']] : ['iptables-restore', []]) as [string, string[]]),
        rules,
      );
      const listed = isNft
        ? await lab.node.run('nft', ['list', 'table', 'ip', 'x'])
        : await lab.node.run('iptables-save', []);
      for (const text of [rules, listed]) {
        const { configurations, notes } = importRules(text);
        assert.equal(configurations.length, 1, JSON.stringify(notes));
        const options = resolveOptions(configurations[0]);
        assert.deepEqual(
          options.owned.map((bucket) => bucket + 1),
          owned,
        );
        assert.equal(options.action, 'drop');
      }
      await inject(
        lab.sender,
        'eth0',
        SOURCES.map((src) => udp({ src, dst: NODE.ipv4 })),
        { rate: 20_000 },
      );
      await waitFor('all frames', async () =>
        (await lab.node.run('nft', ['list', 'counter', 'ip', 'noted', 'seen'])).includes(
          `packets ${SOURCES.length} `,
        ),
      );
      const hasher = new Hasher({ totalNodes: 3, hashSeed: 5 });
      const expected = SOURCES.filter((source) => owned.includes(hasher.node(source))).sort();
      assert.deepEqual(await sources(lab.node), expected);
    });
  }
});
