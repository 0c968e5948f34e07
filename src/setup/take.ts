import { runOrThrow } from './exec.js';
import { setQueueRule } from './queue-rule.js';
import type { Step } from './step.js';

/**
 * Takes the steps that are not in place, in order.
 * @throws NfqClusterError of the first that fails, and takes none behind it
 */
export async function take(steps: readonly Step[], netns: string | undefined): Promise<void> {
  for (const { what, program, args, input = '', inPlace, queueRule } of steps) {
    if (inPlace) continue;
    if (queueRule) await setQueueRule(queueRule, netns);
    else await runOrThrow(what, program, args, { input, netns });
  }
}
