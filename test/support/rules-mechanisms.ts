import assert from 'node:assert/strict';
import { NfqClusterError } from '../../src/errors.js';
import { resolveOptions, type Options, type ResolvedOptions } from '../../src/options.js';
import { findProgram } from '../../src/setup/exec.js';
import { chooseMechanism, type Mechanism } from '../../src/setup/index.js';
import { lab, type Lab } from './rules-lab.js';

export const xtables = (variant: string): Mechanism => ({
  kind: 'xtables',
  iptables: `iptables-${variant}`,
  ip6tables: `ip6tables-${variant}`,
});

export const options = (at: Lab, more: Partial<Options> = {}): ResolvedOptions =>
  resolveOptions({
    interfaces: ['wire'],
    hashSeed: 1,
    totalNodes: 2,
    localNode: 1,
    queues: [10],
    netns: at.node,
    ...more,
  });

/** The ways to queue that this kernel and this machine have, each with a title, the best first. */
export async function mechanismsHere(): Promise<[string, Mechanism][]> {
  await using at = await lab();
  const here: [string, Mechanism][] = [];
  for (const rules of ['nft', 'nft-compat'] as const) {
    try {
      here.push([rules, await chooseMechanism(options(at, { rules }))]);
    } catch (error) {
      assert.ok(error instanceof NfqClusterError && error.code === 'ERR_NO_NFQUEUE', String(error));
    }
  }
  for (const variant of ['nft', 'legacy']) {
    if ((await findProgram(`iptables-${variant}`)) !== undefined) {
      here.push([`iptables-${variant}`, xtables(variant)]);
    }
  }
  return here;
}
