/* For tests of the rules themselves, with no engine behind them. */
import assert from 'node:assert/strict';
import { NfqClusterError } from '../../src/errors.js';
import type { Options, ResolvedOptions } from '../../src/options/types.js';
import { resolveOptions } from '../../src/options/resolve.js';
import { findProgram } from '../../src/setup/exec.js';
import { chooseMechanism } from '../../src/setup/probe.js';
import type { Mechanism } from '../../src/setup/ruleset.js';
import { wire, type Wire } from './wire.js';

/** The node's `eth1`, a second wire to the sender's. */
export const OTHER = { ipv4: '10.2.0.2', ipv6: 'fd02::2', mac: '02:00:00:00:00:04' };

/** A wire, and beside it another. */
export async function twoWires(): Promise<Wire> {
  const lab = await wire();
  await lab.sender.veth('eth1', lab.node, 'eth1');
  await lab.sender.ip('link set eth1 up');
  await lab.node.ip(
    `link set eth1 address ${OTHER.mac} up`,
    `address add ${OTHER.ipv4}/24 dev eth1`,
    `address add ${OTHER.ipv6}/64 dev eth1 nodad`,
  );
  return lab;
}

export const xtables = (variant: string): Mechanism => ({
  kind: 'xtables',
  iptables: `iptables-${variant}`,
  ip6tables: `ip6tables-${variant}`,
});

export const options = ({ node }: Wire, more: Partial<Options> = {}): ResolvedOptions =>
  resolveOptions({
    interfaces: ['eth0'],
    hashSeed: 1,
    totalNodes: 2,
    localNode: 1,
    queues: [10],
    netns: node.path,
    ...more,
  });

/** The ways to queue that this kernel and this machine have, each with a title, the best first. */
export async function mechanismsHere(): Promise<[string, Mechanism][]> {
  await using lab = await wire();
  const here: [string, Mechanism][] = [];
  for (const rules of ['nft', 'nft-compat'] as const) {
    try {
      here.push([rules, await chooseMechanism(options(lab, { rules }))]);
    } catch (error) {
      assert.ok(error instanceof NfqClusterError && error.code === 'ERR_NO_NFQUEUE', String(error));
    }
  }
  for (const variant of ['nft', 'legacy']) {
    if (findProgram(`iptables-${variant}`) !== undefined) {
      here.push([`iptables-${variant}`, xtables(variant)]);
    }
  }
  return here;
}
