import { constants } from 'node:os';
import { keepsBucket } from '../options/conntrack.js';
import { NfqClusterError } from '../errors.js';
import { fromNative, native } from '../native.js';
import type { ResolvedOptions } from '../options/types.js';
import { TCP_LOOSE } from './changes.js';
import { findProgram, run, runOrThrow, said } from './exec.js';
import { readSysctls } from './kernel-files.js';
import { xtablesChain, type Mechanism } from './ruleset.js';
import { needsConntrack } from './connections.js';
import { restoring } from './step.js';
import { hasIpv6, hasLegacyMangle } from './traces.js';
import { inTrial } from './trial.js';

/*
 * Checked and not committed. In a chain without a hook, because even trying a base chain would drop all
 * packets that the namespace's queues hold.
 */
const nftChain = (...rules: string[]): string =>
  [
    'add table inet nfq-cluster-probe',
    'add chain inet nfq-cluster-probe probe',
    ...rules.map((rule) => `add rule inet nfq-cluster-probe probe ${rule}`),
    '',
  ].join('\n');

const CHECK = ['--check', '-f', '-'];

const FOR_HOST = 'meta pkttype multicast meta pkttype set host';

/**
 * Asks the running kernel how packets can be queued, and changes nothing in the namespace.
 * @throws NfqClusterError `ERR_NO_NFQUEUE`, `ERR_NO_TOOL`, `ERR_PRIVILEGE`, `ERR_NO_NETNS`, `ERR_RULES`
 */
export async function chooseMechanism(options: ResolvedOptions): Promise<Mechanism> {
  await checkNft(options.netns);
  if (needsConntrack(options)) await requireCt(options.netns);
  if (options.offload.length > 0 || keepsBucket(options)) await requireJhash(options.netns);
  if (options.rules === 'xtables') return chooseXtables(options);
  if (options.rules === 'nft-compat') return chooseCompat();
  const input = nftChain('queue num 0');
  const queue = await run('nft', CHECK, { input, netns: options.netns });
  if (queue.status === 0) return { kind: 'nft' };
  if (options.rules !== 'nft')
    return probeQueue().target === 0 ? { kind: 'nft-compat' } : chooseXtables(options);
  throw new NfqClusterError(
    'ERR_NO_NFQUEUE',
    `This kernel has no queue statement for nft (NFT_QUEUE): ${said('nft', queue)}`,
    {
      remedy: "Set rules to 'auto', which then uses NFQUEUE",
    },
  );
}

async function requireJhash(netns: string | undefined): Promise<void> {
  if (await takesJhash(netns)) return;
  throw new NfqClusterError('ERR_RULES', 'This kernel has no jhash for nft', {
    remedy: "Use a kernel with CONFIG_NFT_HASH, or neither offload nor conntrack 'mark'",
  });
}

/**
 * Whether nft can hash addresses, as rules of nodes without an engine do, and those that keep buckets.
 * @throws NfqClusterError what `chooseMechanism` throws
 */
export async function hasJhash(netns: string | undefined): Promise<boolean> {
  await checkNft(netns);
  return takesJhash(netns);
}

async function takesJhash(netns: string | undefined): Promise<boolean> {
  const input = nftChain('meta mark set jhash ip saddr mod 2 seed 0x1 offset 1 << 1');
  return (await run('nft', CHECK, { input, netns })).status === 0;
}

/** How a packet that passes returns to the kernel: xtables rules behind the queue rule must still see it. */
export const reinjectOf = (mechanism: Mechanism): 'accept' | 'repeat' =>
  mechanism.kind === 'xtables' ? 'repeat' : 'accept';

/** Both mechanisms need nft, as only it can set a packet's pkt_type. */
async function checkNft(netns: string | undefined): Promise<void> {
  await runOrThrow('check a rule by nft', 'nft', CHECK, { input: nftChain(FOR_HOST), netns });
}

/*
 * In a namespace of its own: where nothing tracks connections, even trying a rule that asks for them adds and
 * removes hooks, and the kernel then drops what queues hold. Where no namespace may be made, only if the trial has to
 * load the kernel's module: without it, its parameters are not there to be set.
 */
async function requireCt(netns: string | undefined): Promise<void> {
  const nft = findProgram('nft') ?? 'nft';
  const input = nftChain('ct state invalid drop');
  const tried =
    (await inTrial(nft, CHECK, input)) ??
    ((await readSysctls([TCP_LOOSE], netns))[TCP_LOOSE] === undefined
      ? await run(nft, CHECK, { input, netns })
      : undefined);
  if (tried === undefined || tried.status === 0) return;
  throw new NfqClusterError('ERR_RULES', `This kernel has no ct for nft: ${said('nft', tried)}`, {
    remedy: "Use a kernel with CONFIG_NFT_CT, or set conntrack to 'off'",
  });
}

/**
 * What the kernel supports of queues, as errnos: see the addon's function.
 * @throws NfqClusterError `ERR_SYSTEM` where no thread can be started
 */
export function probeQueue(): ReturnType<typeof native.probeQueue> {
  try {
    return native.probeQueue();
  } catch (error) {
    throw fromNative(error);
  }
}

function chooseCompat(): Mechanism {
  const { target } = probeQueue();
  if (target === 0) return { kind: 'nft-compat' };
  throw target === constants.errno.EPERM
    ? new NfqClusterError('ERR_PRIVILEGE', 'Not permitted to ask what nft_compat can do', {
        remedy: 'Run as root or with CAP_NET_ADMIN',
      })
    : new NfqClusterError(
        'ERR_NO_NFQUEUE',
        `This kernel has no NFQUEUE for nft chains (NFT_COMPAT): errno ${target}`,
        { remedy: "Set rules to 'auto'" },
      );
}

async function chooseXtables(options: ResolvedOptions): Promise<Mechanism> {
  const ipv6 = await hasIpv6(options.netns);
  const refusals: string[] = [];
  for (const variant of await candidates(options.netns)) {
    const mechanism = {
      kind: 'xtables',
      iptables: `ip${variant}`,
      ip6tables: ipv6 ? `ip6${variant}` : undefined,
    } as const;
    const refusal = await tryXtables(options, [
      mechanism.iptables,
      ...(ipv6 ? [mechanism.ip6tables!] : []),
    ]);
    if (refusal === undefined) return mechanism;
    refusals.push(refusal);
  }
  if (refusals.length > 0) {
    throw new NfqClusterError(
      'ERR_NO_NFQUEUE',
      `This kernel cannot queue packets by NFQUEUE: ${refusals.join('; ')}`,
      {
        remedy: 'Use a kernel with NETFILTER_XT_TARGET_NFQUEUE or NFT_QUEUE, as distributions have',
      },
    );
  }
  throw new NfqClusterError(
    'ERR_NO_TOOL',
    'The program iptables is not installed, and nft alone cannot queue packets on this kernel',
    {
      remedy: 'Install the package iptables (Debian, Fedora, Alpine)',
    },
  );
}

/** Where the user has rules in the legacy tables, ours belong there too: one chain, in which order is known. */
async function candidates(netns: string | undefined): Promise<string[]> {
  const legacyUsed = (await hasLegacyMangle('ip', netns)) || (await hasLegacyMangle('ip6', netns));
  const all = legacyUsed
    ? ['tables-legacy', 'tables-nft', 'tables']
    : ['tables-nft', 'tables-legacy', 'tables'];
  return all.filter((variant) => findProgram(`ip${variant}-restore`) !== undefined);
}

/**
 * Loads the very rules in a namespace of their own, gone at once; returns why that failed. Where no namespace
 * may be made, the answer is left to the installation, which takes all of its steps back when one fails.
 */
async function tryXtables(
  options: ResolvedOptions,
  programs: readonly string[],
): Promise<string | undefined> {
  for (const program of programs) {
    const restore = restoring(program, xtablesChain(options, 'queue', true));
    const path = findProgram(restore.program);
    if (path === undefined) return `${program} is not installed`;
    const tried = await inTrial(path, restore.args, restore.input);
    if (tried !== undefined && tried.status !== 0) return said(program, tried);
  }
  return undefined;
}
