/** What there is to say about a line. */
export interface Note {
  /** From 1. */
  line: number;
  /**
   * - `refused`: iptables or the kernel refuse the rule, or its meaning is not certain; nothing is carried of
   *   what is said about its interface.
   * - `not carried`: the rule was read, but this part of it has no equal here.
   * - `warning`: carried, but look at it.
   * - `by hand`: what the node needs besides, as a command.
   */
  kind: 'refused' | 'not carried' | 'warning' | 'by hand';
  text: string;
}

/** A rule that is refused, with the reason. */
export class Refusal extends Error {}

/** Runs `work`; what it refuses becomes a note. */
export function refusing<T>(line: number, notes: Note[], work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    notes.push({ line, kind: 'refused', text: error.message });
    return undefined;
  }
}
