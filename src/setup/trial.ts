import { run, type Outcome } from './exec.js';

/*
 * A namespace is made with CAP_SYS_ADMIN; CAP_NET_ADMIN alone, as a service may have it, needs a user
 * namespace around it.
 */
const WAYS = [['--net'], ['--user', '--map-root-user', '--net']] as const;

/**
 * Runs a program in a network namespace of its own, which is gone when it ends: to try what would change
 * the namespace that is in use.
 * @returns its outcome, or undefined where this process may make no namespace
 * @throws NfqClusterError what `run` throws
 */
export async function inTrial(
  program: string,
  args: readonly string[],
  input = '',
): Promise<Outcome | undefined> {
  for (const way of WAYS) {
    const outcome = await run('unshare', [...way, program, ...args], { input });
    // Whatever unshare itself says: a limit of 0 namespaces (user.max_user_namespaces), for one, is "no space left".
    if (outcome.status === 0 || !outcome.stderr.startsWith('unshare:')) return outcome;
  }
  return undefined;
}
