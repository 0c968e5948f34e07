/** A remark on one line of the text. */
export interface Note {
  /** The line's number, from 1. */
  line: number;
  /**
   * - `refused`: iptables or the kernel would refuse the rule, or its meaning is not certain; nothing is
   *   carried over for its interface.
   * - `not carried`: the rule was read, but this part of it has no equivalent here.
   * - `warning`: carried over, but should be looked at.
   * - `by hand`: a command for something that the node needs besides.
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
