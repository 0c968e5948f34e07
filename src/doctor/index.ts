import { z } from 'zod';
import { namespace } from '../checks.js';
import { parse } from '../parse.js';
import { resolveOptions, type Options } from '../options.js';
import { names } from '../setup/ruleset.js';
import type { DoctorFacts } from './facts.js';
import type { Finding } from './finding.js';
import { gather } from './gather.js';
import { checkBridges, checkUpper } from './links.js';
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

/** What is right on a machine, and what is wrong. */
export interface Diagnosis {
  /** Whether no finding is an error. */
  healthy: boolean;
  findings: readonly Finding[];
}

const CHECKS: readonly ((facts: DoctorFacts) => Finding[])[] = [
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
  checkChanges,
  checkListeners,
  checkNft,
  checkXtables,
  checkNeighbours,
  checkRouters,
];

const whereSchema = z.strictObject({ netns: namespace.optional() }, 'an object with netns');

/** Judges what was found out. */
export function diagnose(facts: DoctorFacts): Diagnosis {
  const findings = CHECKS.flatMap((check) => check(facts));
  return { healthy: findings.every(({ level }) => level !== 'error'), findings };
}

/**
 * Looks at this machine and changes nothing: with the options of a setup at that one, without at those that
 * stand. Where `rules` is `none`, rules that queue to the engine are as good as ours; else they are a setup's. What cannot be found out is a finding of level `skipped`.
 * @param where the network namespace, where no options are given
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
