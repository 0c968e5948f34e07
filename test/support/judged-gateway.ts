/*
 * A client, a gateway and a server on two wires, and a judge on the gateway: of each packet, whether the
 * kernel's own `-m cluster` match and an engine with action mark say the same.
 */
import { open, type Engine, type Options } from '../../src/index.js';
import { Namespace } from '../../src/lab/namespaces.js';
import { native } from '../../src/native.js';

export const SHARE = { policy: 'xt_cluster', totalNodes: 2, localNode: 1, hashSeed: 7 } as const;
/** What the engine gives its packets; the kernel's match sets KERNEL. */
const ENGINE = 0x1;
const KERNEL = 0x100;

export const skip = process.getuid?.() === 0 ? false : 'needs root';

/** Whether the kernel attaches the connection to queued packets: it does, or it does not. */
export const attaches = skip === false && native.probeQueue().conntrack === 0;

/** The ways in which an engine can follow connections here. */
export const SOURCES_OF_TRUTH: NonNullable<Options['conntrack']>[] = attaches
  ? ['queue', 'netlink', 'mark']
  : ['netlink', 'mark'];

/** An engine on the gateway that marks what is its own. */
export const engineOn = (
  { gateway: node }: Pick<Gateway, 'gateway'>,
  way: Partial<Pick<Options, 'conntrack' | 'helpers' | 'offload' | 'interfaces' | 'hashSeed'>> = {},
): Promise<Engine> =>
  open({
    ...SHARE,
    interfaces: ['outside', 'inside'],
    netns: node.path,
    rules: 'auto',
    action: 'mark',
    marks: { owned: { value: ENGINE, mask: ENGINE } },
    ...way,
    control: 'none',
  });

export const SERVER = { 4: '10.92.0.2', 6: 'fd92::2' } as const;
export const GATEWAY = { 4: '10.92.0.1', 6: 'fd92::1' } as const;
/** Any address of these is the client's. */
export const source = (family: 4 | 6, index: number): string =>
  family === 4 ? `10.93.0.${index + 1}` : `fd93:${(index + 1).toString(16)}::1`;

/** How the kernel and the engine judged the packets of one class. */
export interface Judgement {
  both: number;
  neither: number;
  kernelOnly: number;
  engineOnly: number;
}

const CLASSES = {
  new: '--ctstate NEW',
  original: '--ctstate ESTABLISHED --ctdir ORIGINAL',
  reply: '--ctstate ESTABLISHED --ctdir REPLY',
  related: '--ctstate RELATED --ctdir ORIGINAL',
  'related-reply': '--ctstate RELATED --ctdir REPLY',
  invalid: '--ctstate INVALID',
  // But neighbour discovery, which the rules leave alone.
  untracked: '--ctstate UNTRACKED ! -p 58',
} as const;
export type Class = keyof typeof CLASSES;

const OUTCOMES: Readonly<Record<keyof Judgement, number>> = {
  both: KERNEL | ENGINE,
  neither: 0,
  kernelOnly: KERNEL,
  engineOnly: ENGINE,
};
const hex = (bits: number): string => `0x${bits.toString(16)}`;

export interface Gateway extends AsyncDisposable {
  client: Namespace;
  gateway: Namespace;
  server: Namespace;
  /** Puts the match and the counters behind what stands in mangle. */
  judge(): Promise<void>;
  judged(): Promise<Record<Class, Judgement>>;
}

export async function gateway(): Promise<Gateway> {
  const [client, middle, server] = await Promise.all([
    Namespace.create(),
    Namespace.create(),
    Namespace.create(),
  ]);
  await client.veth('eth0', middle, 'outside');
  await server.veth('eth0', middle, 'inside');
  await Promise.all([client, middle, server].map((each) => each.ip('link set lo up')));
  await client.ip(
    ...up('eth0', '10.91.0.2/24', 'fd91::2/64'),
    'route add local 10.93.0.0/24 dev lo',
    'route add default via 10.91.0.1',
    'route add local fd93::/16 dev lo',
    'route add default via fd91::1',
  );
  await client.sysctl({ 'ipv6/ip_nonlocal_bind': 1 });
  const unlimited = { 'ipv4/icmp_ratelimit': 0, 'ipv6/icmp/ratelimit': 0 };
  await Promise.all([client, server].map((each) => each.sysctl(unlimited)));
  await middle.sysctl({ 'ipv4/ip_forward': 1, 'ipv6/conf/all/forwarding': 1 });
  await middle.ip(
    ...up('outside', '10.91.0.1/24', 'fd91::1/64'),
    ...up('inside', `${GATEWAY[4]}/24`, `${GATEWAY[6]}/64`),
    'route add 10.93.0.0/24 via 10.91.0.2',
    'route add fd93::/16 via fd91::2',
  );
  await server.ip(
    ...up('eth0', `${SERVER[4]}/24`, `${SERVER[6]}/64`),
    `route add default via ${GATEWAY[4]}`,
    `route add default via ${GATEWAY[6]}`,
  );
  return {
    client,
    gateway: middle,
    server,
    judge: () => judge(middle),
    judged: () => judged(middle),
    [Symbol.asyncDispose]: async () => {
      await Promise.all([client.close(), middle.close(), server.close()]);
    },
  };
}

const up = (name: string, ipv4: string, ipv6: string): string[] => [
  `link set ${name} up`,
  `address add ${ipv4} dev ${name}`,
  `address add ${ipv6} dev ${name} nodad`,
];

const XTABLES = ['iptables', 'ip6tables'] as const;

async function judge(node: Namespace): Promise<void> {
  const { totalNodes, localNode, hashSeed } = SHARE;
  for (const program of XTABLES) {
    const counters = Object.entries(CLASSES).flatMap(([name, match]) =>
      Object.entries(OUTCOMES).map(
        ([outcome, bits]) =>
          `-A judge -m conntrack ${match} -m mark --mark ${hex(bits)}/${hex(KERNEL | ENGINE)} -m comment --comment ${name}:${outcome} -j RETURN`,
      ),
    );
    const rules = [
      '*mangle',
      ':judge - [0:0]',
      '-A PREROUTING -j judge',
      `-A judge -j MARK --set-xmark 0x0/${hex(KERNEL)}`,
      `-A judge -m cluster --cluster-total-nodes ${totalNodes} --cluster-local-node ${localNode} --cluster-hash-seed ${hashSeed} -j MARK --set-xmark ${hex(KERNEL)}/${hex(KERNEL)}`,
      ...counters,
      'COMMIT',
      '',
    ];
    await node.run(`${program}-restore`, ['--noflush', '-w', '10'], rules.join('\n'));
  }
}

async function judged(node: Namespace): Promise<Record<Class, Judgement>> {
  const saved = await Promise.all(
    XTABLES.map((program) => node.run(`${program}-save`, ['-c', '-t', 'mangle'])),
  );
  const result = Object.fromEntries(
    Object.keys(CLASSES).map((name) => [
      name,
      { both: 0, neither: 0, kernelOnly: 0, engineOnly: 0 },
    ]),
  ) as Record<Class, Judgement>;
  for (const line of saved.join('').split('\n')) {
    const found = /^\[(\d+):\d+\] -A judge .*--comment "?([a-z-]+):(\w+)"? /.exec(line);
    if (found === null) continue;
    result[found[2] as Class][found[3] as keyof Judgement] += Number(found[1]);
  }
  return result;
}
