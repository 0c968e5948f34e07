import { spawnSync, type ChildProcess } from 'node:child_process';
import path from 'node:path';
import type { Namespace } from '../../src/lab/namespaces.js';
import { ContenderFailed, program, PROCESSOR, root, startPinned, stop } from './process.js';
import type { Report } from './results.js';

/** What all contenders are asked to do: pass the packets of these nodes, drop all others. */
export interface Task {
  totalNodes: number;
  localNodes: readonly number[];
  /** Queue length and receive buffer for a held backlog; else everybody's default. */
  backlog?: boolean;
  /** Where its program runs, as taskset takes it. @default the contender's processor */
  processors?: string;
}

/** A contender at work. */
export interface Running {
  /** The process that answers; none for rules of the kernel's. */
  child: ChildProcess | undefined;
  stop(): Promise<void>;
}

export interface Contender {
  name: string;
  /** Starts it in the node's namespace, for packets that enter by eth0. */
  start(node: Namespace, task: Task): Promise<Running>;
}

const SEED = '0xdeadbeef';
const BACKLOG = { queueLength: '65536', receiveBuffer: String(128 * 1024 * 1024) };

const mask = ({ localNodes }: Task): string =>
  String(localNodes.reduce((bits, node) => bits | (1 << (node - 1)), 0) >>> 0);

/** Rules by both iptables programs; no program that answers. */
async function xtables(node: Namespace, ...rules: readonly string[]): Promise<Running> {
  const input = ['*mangle', ...rules.map((rule) => `-A PREROUTING ${rule}`), 'COMMIT', ''].join(
    '\n',
  );
  for (const family of ['iptables', 'ip6tables'])
    await node.run(`${family}-restore`, ['-w'], input);
  return RULES;
}

/** Of rules of the kernel's alone. */
const RULES: Running = { child: undefined, stop: () => Promise.resolve() };

const INVALID = '-i eth0 -m conntrack --ctstate INVALID -j DROP';

export const noRule: Contender = {
  name: 'no rule',
  start: () => Promise.resolve(RULES),
};

export const kernelMatch: Contender = {
  name: 'kernel: -m cluster',
  start: (node, task) =>
    xtables(
      node,
      INVALID,
      `-i eth0 -m cluster --cluster-total-nodes ${task.totalNodes} --cluster-local-nodemask ${mask(task)} --cluster-hash-seed ${SEED} -j ACCEPT`,
      '-i eth0 -j DROP',
    ),
};

const nftJhash: Contender = {
  name: 'kernel: nft jhash',
  async start(node, { totalNodes, localNodes }) {
    const owned = `{ ${localNodes.map((local) => local - 1).join(', ')} }`;
    const rule = (source: string, family: string): string =>
      `meta nfproto ${family} jhash ct original ${source} mod ${totalNodes} seed ${SEED} ${owned} accept`;
    await node.run(
      'nft',
      ['-f', '-'],
      [
        'add table inet bench',
        'add chain inet bench pre { type filter hook prerouting priority mangle; }',
        ...[
          'iifname != "eth0" accept',
          'ct state invalid drop',
          rule('ip saddr', 'ipv4'),
          rule('ip6 saddr', 'ipv6'),
          'drop',
        ].map((line) => `add rule inet bench pre ${line}`),
        '',
      ].join('\n'),
    );
    return RULES;
  },
};

/** @throws ContenderFailed */
async function started(
  node: Namespace,
  { processors = PROCESSOR.contender }: Task,
  line: readonly string[],
): Promise<Running> {
  try {
    const child = await startPinned(node, processors, line);
    return { child, stop: () => stop(child) };
  } catch (cause) {
    throw new ContenderFailed((cause as Error).message, { cause });
  }
}

/** A program that listens on queue 0, behind the rule that everybody's README gives. */
const queued = (
  name: string,
  line: (task: Task) => readonly string[],
  tracking = true,
): Contender => ({
  name,
  async start(node, task) {
    const running = await started(node, task, line(task));
    await xtables(node, ...(tracking ? [INVALID] : []), '-i eth0 -j NFQUEUE --queue-num 0');
    return running;
  },
});

/* These decide for one node: several local nodes are one node of one. */
const share = ({ totalNodes, localNodes }: Task): string[] =>
  localNodes.length === 1 ? [String(totalNodes), String(localNodes[0])] : ['1', '1'];

const exampleLine = (task: Task): string[] => [
  program('example_loop'),
  '0',
  ...share(task),
  SEED,
  ...(task.backlog === true ? [BACKLOG.queueLength, BACKLOG.receiveBuffer] : []),
];

export const exampleLoop = queued('C: libnetfilter_queue loop', exampleLine);

/** Where the kernel tracks no connection, as beside the engine that is stateless. */
export const statelessLoop = queued('C: loop, stateless', exampleLine, false);

export const peer = (name: string): Contender =>
  queued(`npm: ${name}`, (task) => [
    process.execPath,
    path.join(root, 'bench/peers/peer.mjs'),
    name,
    '0',
    ...share(task),
    SEED,
    ...(task.backlog === true ? [BACKLOG.receiveBuffer] : []),
  ]);

const shareFlags = (task: Task): string[] => [
  ...['--cluster-total-nodes', String(task.totalNodes), '--cluster-local-nodemask', mask(task)],
];

/** This package, by its command line, with rules of its own. */
export const engine = (
  name: string,
  flags: readonly string[] = [],
  queues = 1,
  share = shareFlags,
): Contender => ({
  name: `nfq-cluster${name === '' ? '' : `: ${name}`}`,
  start: (node, task) =>
    started(node, task, [
      process.execPath,
      path.join(root, 'dist/cli/main.js'),
      ...['run', '--json', '--interface', 'eth0'],
      ...['--queue', queues === 1 ? '0' : `0-${queues - 1}`],
      ...share(task),
      ...['--cluster-hash-seed', SEED],
      ...(task.backlog === true
        ? ['--queue-length', BACKLOG.queueLength, '--receive-buffer', BACKLOG.receiveBuffer]
        : []),
      ...flags,
    ]),
});

/** With known connections, or also known sources, left to the kernel. */
export const offloaded = (what: 'flows' | 'sources'): Contender =>
  engine(`offload ${what}`, ['--offload', what]);

/** Where no helper follows connections; with offload nobody listens to helpers anyway. */
export const withoutHelpers = engine('without helpers', ['--without-helpers']);

const STATELESS = ['--conntrack', 'off'];

/** By addresses alone, with no connection tracked; and with known sources left to the kernel. */
export const stateless = engine('stateless', STATELESS);
export const statelessOffloaded = engine('stateless, offload sources', [
  ...STATELESS,
  '--offload',
  'sources',
]);

export const twoQueues = engine('2 queues', [], 2);

const FAN_OUT = '--queue-cpu-fanout';

/** With a queue for each processor; where that is left to them, their threads run there, too. */
export const fannedOut = engine('2 queues, CPU fan-out', [FAN_OUT], 2);
export const statelessFannedOut = engine('stateless, CPU fan-out', [...STATELESS, FAN_OUT], 2);

const PEERS = ['nfqueue', '@corellium/nfqueue'];

/** Whether a package is there and Node.js can load it: npm may have installed it without building it. */
export const canBeLoaded = (directory: string): boolean =>
  spawnSync(process.execPath, ['-e', 'require(process.argv[1])', directory]).status === 0;

/** Those of other npm packages that npm has installed here. */
function peers(report: Report): Contender[] {
  const installed = PEERS.filter((name) =>
    canBeLoaded(path.join(root, 'bench/peers/node_modules', name)),
  );
  const absent = PEERS.filter((name) => !installed.includes(name));
  if (absent.length > 0)
    report.note(
      `Not measured, as npm has not installed it or Node.js cannot load it: ${absent.join(', ')}. \`npm install NAME\` in an empty folder says why.`,
    );
  return installed.map(peer);
}

/** Everybody who can be measured here. */
export function contenders(report: Report): Contender[] {
  return [
    noRule,
    kernelMatch,
    nftJhash,
    exampleLoop,
    statelessLoop,
    ...peers(report),
    engine(''),
    offloaded('flows'),
    offloaded('sources'),
    twoQueues,
    fannedOut,
    withoutHelpers,
    stateless,
    statelessOffloaded,
  ];
}
