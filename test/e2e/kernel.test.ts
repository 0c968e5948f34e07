/*
 * The kernel as the judge: each packet passes a real `-m cluster` match, or nft's jhash, and the
 * engine. Counters behind both say how often they agree.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { open, type Options, type Policy } from '../../src/index.js';
import type { Namespace } from '../../src/lab/namespaces.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { random } from '../support/random.js';
import { NODE, wire, type Wire } from '../support/wire.js';

type Share = Pick<Options, 'localNode' | 'localNodemask' | 'invert'>;
type Config = Share & { totalNodes: number; hashSeed: number };
interface Agreement {
  both: number;
  kernelOnly: number;
  engineOnly: number;
  neither: number;
}

const KERNEL = 0x100;
const ENGINE = 0x001;
const DECIDED = 0x8000_0000;
const IPV4_SOURCES = 20_000;
const IPV6_SOURCES = 5_000;

const CONFIGS: Config[] = [
  { totalNodes: 2, localNode: 1, hashSeed: 0 },
  { totalNodes: 3, localNode: 3, hashSeed: 0xdeadbeef },
  { totalNodes: 7, localNode: 4, invert: true, hashSeed: 0xffffffff },
  { totalNodes: 8, localNodemask: 21, hashSeed: 0x80000000 },
  { totalNodes: 16, localNodemask: 31, invert: true, hashSeed: 1 },
  { totalNodes: 32, localNode: 32, hashSeed: 0xfeedcafe },
  { totalNodes: 1, localNode: 1, hashSeed: 5 },
];

const title = ({ totalNodes, localNode, localNodemask, invert, hashSeed }: Config): string =>
  `${invert === true ? '! ' : ''}${localNode === undefined ? `mask ${localNodemask!}` : `node ${String(localNode)}`} of ${totalNodes}, seed 0x${hashSeed.toString(16)}`;

const mark = (value: number, mask: number): string =>
  `0x${value.toString(16)}/0x${mask.toString(16)}`;

/**
 * The chain is run a second time once the engine has decided, and then only counts. All that is sent is UDP; what else
 * comes, such as a report of multicast groups that an interface sends of itself, is none of it.
 */
function counting(): string[] {
  const outcomes: [keyof Agreement, number][] = [
    ['both', KERNEL | ENGINE],
    ['kernelOnly', KERNEL],
    ['engineOnly', ENGINE],
    ['neither', 0],
  ];
  return [
    `-A PREROUTING -i eth0 -p udp -m mark ! --mark ${mark(DECIDED, DECIDED)} -j NFQUEUE --queue-num 0`,
    ...outcomes.map(
      ([name, value]) =>
        `-A PREROUTING -i eth0 -p udp -m mark --mark ${mark(value, KERNEL | ENGINE)} -m comment --comment ${name} -j DROP`,
    ),
  ];
}

function clusterMatch({ totalNodes, localNode, localNodemask, invert, hashSeed }: Config): string {
  const local =
    localNode === undefined
      ? `--cluster-local-nodemask ${localNodemask!}`
      : `--cluster-local-node ${String(localNode)}`;
  const match = `-m cluster --cluster-total-nodes ${totalNodes} ${invert === true ? '! ' : ''}${local} --cluster-hash-seed ${hashSeed}`;
  return `-A PREROUTING -i eth0 -m mark ! --mark ${mark(DECIDED, DECIDED)} ${match} -j MARK --set-xmark ${mark(KERNEL, KERNEL)}`;
}

const xtables = (family: 4 | 6): string => (family === 4 ? 'iptables' : 'ip6tables');

async function readCounters(node: Namespace, family: 4 | 6): Promise<Agreement> {
  const saved = await node.run(`${xtables(family)}-save`, ['-c', '-t', 'mangle']);
  const count = (name: string): number =>
    Number(new RegExp(`^\\[(\\d+):\\d+\\] -A .*--comment ${name} `, 'm').exec(saved)![1]);
  return {
    both: count('both'),
    kernelOnly: count('kernelOnly'),
    engineOnly: count('engineOnly'),
    neither: count('neither'),
  };
}

/** Sends every frame past both judges. */
async function judge(
  { sender, node }: Wire,
  family: 4 | 6,
  policy: Policy,
  config: Config,
  rules: readonly string[],
  frames: readonly Buffer[],
): Promise<Agreement> {
  await using engine = await open({
    ...config,
    policy,
    interfaces: ['eth0'],
    netns: node.path,
    action: 'mark',
    reinject: 'repeat',
    marks: { owned: { value: ENGINE, mask: ENGINE }, decided: DECIDED },
    queueLength: 100_000,
  });
  const table = ['*mangle', ...rules, ...counting(), 'COMMIT', ''].join('\n');
  await node.run(`${xtables(family)}-restore`, [], table);
  await inject(sender, 'eth0', frames, { rate: 50_000 });
  await engine.close();
  assert.equal(engine.stats().received, frames.length, 'packets that reached the engine');
  return await readCounters(node, family);
}

function assertAgreement(agreement: Agreement, { totalNodes }: Config, sent: number): void {
  const { both, kernelOnly, engineOnly, neither } = agreement;
  assert.deepEqual({ kernelOnly, engineOnly }, { kernelOnly: 0, engineOnly: 0 });
  assert.equal(both + neither, sent);
  assert.ok(both > 0, 'nothing was owned');
  assert.ok(totalNodes === 1 || neither > 0, 'nothing was foreign');
}

const skip = process.getuid?.() === 0 ? false : 'needs root';

describe('agrees with the running kernel', { skip }, () => {
  let lab: Wire;
  const generator = random('kernel as the judge');
  const ipv4 = Array.from({ length: IPV4_SOURCES }, () =>
    udp({ src: generator.ipv4(), dst: NODE.ipv4 }),
  );
  const ipv6 = Array.from({ length: IPV6_SOURCES }, () =>
    udp({ src: generator.ipv6(), dst: NODE.ipv6 }),
  );
  before(async () => {
    lab = await wire();
  });
  after(async () => {
    await lab[Symbol.asyncDispose]();
  });

  for (const config of CONFIGS) {
    for (const policy of ['xt_cluster', 'jhash'] as const) {
      test(`iptables -m cluster, ${policy}: ${title(config)}`, async () => {
        const agreement = await judge(lab, 4, policy, config, [clusterMatch(config)], ipv4);
        assertAgreement(agreement, config, ipv4.length);
      });
    }
    test(`ip6tables -m cluster, xt_cluster: ${title(config)}`, async () => {
      const agreement = await judge(lab, 6, 'xt_cluster', config, [clusterMatch(config)], ipv6);
      assertAgreement(agreement, config, ipv6.length);
    });
  }

  for (const config of CONFIGS.filter(
    ({ localNode, invert }) => localNode !== undefined && !invert,
  )) {
    test(`nft jhash of the whole IPv6 address, jhash: ${title(config)}`, async () => {
      const { totalNodes, localNode, hashSeed } = config;
      const hash = `jhash ct original ip6 saddr mod ${totalNodes} seed ${hashSeed} offset 1`;
      await using _ = await ruleset(lab.node, [
        `add rule inet judge before iifname eth0 meta mark set ${hash}`,
        `add rule inet judge before meta mark ${String(localNode)} meta mark set ${KERNEL} return`,
        'add rule inet judge before meta mark set 0',
      ]);
      const agreement = await judge(lab, 6, 'jhash', config, [], ipv6);
      assertAgreement(agreement, config, ipv6.length);
    });
  }
});

/** An nft chain between conntrack and mangle, until it is disposed of. */
async function ruleset(node: Namespace, rules: readonly string[]): Promise<AsyncDisposable> {
  const chain =
    'add table inet judge\nadd chain inet judge before { type filter hook prerouting priority -160; }';
  await node.run('nft', ['-f', '-'], [chain, ...rules, ''].join('\n'));
  return {
    async [Symbol.asyncDispose]() {
      await node.run('nft', ['delete', 'table', 'inet', 'judge']);
    },
  };
}
