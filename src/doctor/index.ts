import { z } from 'zod';
import { namespace } from '../options/checks.js';
import { parse } from '../options/parse.js';
import type { Options } from '../options/types.js';
import { resolveOptions } from '../options/resolve.js';
import { names } from '../setup/ruleset.js';
import { checkEngines } from './engine.js';
import type { DoctorFacts } from './facts.js';
import { printedFor, type Finding, type Judged } from './finding.js';
import { gather } from './gather.js';
import { checkBridges, checkSnooping, checkUpper } from './links.js';
import { checkListeners } from './listeners.js';
import { checkNft } from './netfilter.js';
import {
  checkChanges,
  checkInterfaces,
  checkNeighbours,
  checkRouters,
  checkSetup,
} from './setup.js';
import {
  checkConntrack,
  checkConntrackGlue,
  checkJhash,
  checkMechanism,
  checkNfqueue,
  checkPrivileges,
  checkPrograms,
} from './system.js';
import { checkXtables } from './xtables.js';

export type { Finding, Level } from './finding.js';

/** What is right on a machine, and what is wrong with it. */
export interface Diagnosis {
  /** True if no finding is an error. */
  healthy: boolean;
  findings: readonly Finding[];
}

const CHECKS: readonly ((facts: DoctorFacts) => Judged[])[] = [
  checkPrograms,
  checkPrivileges,
  checkNfqueue,
  checkMechanism,
  checkConntrack,
  checkConntrackGlue,
  checkJhash,
  checkSetup,
  checkInterfaces,
  checkUpper,
  checkBridges,
  checkSnooping,
  checkChanges,
  checkListeners,
  checkEngines,
  checkNft,
  checkXtables,
  checkNeighbours,
  checkRouters,
];

const whereSchema = z.strictObject({ netns: namespace.optional() }, 'an object with netns');

/** Judges what was found out. */
export function diagnose(facts: DoctorFacts): Diagnosis {
  const findings = CHECKS.flatMap((check) => check(facts)).map(printedFor(facts.netns));
  return { healthy: findings.every(({ level }) => level !== 'error'), findings };
}

/**
 * Checks this machine, and changes nothing. What cannot be found out is a finding of level `skipped`.
 * @param options of the setup to check; without them, all setups that are in place are checked. With
 *   `rules: 'none'`, other rules that send packets to the queues are taken for your own; otherwise they are
 *   errors. Here `rules` is `auto` by default. The engine is asked by the socket that `control` names, otherwise by
 *   the default one
 * @param where.netns the network namespace to check if no options are given: a name under /run/netns, or an
 *   absolute path. Default the process's own
 * @throws NfqClusterError `ERR_INVALID_OPTION`
 */
export async function doctor(
  options?: Options,
  where: { netns?: string } = {},
): Promise<Diagnosis> {
  const { netns } = parse(whereSchema, where, 'where');
  const resolved = options === undefined ? undefined : resolveOptions(options, 'auto');
  if (resolved !== undefined) names(resolved);
  return diagnose(await gather(resolved, resolved?.netns ?? netns));
}
