/** What there is to say about a line. */
export interface Note {
  /** From 1. */
  line: number;
  /**
   * - `refused`: iptables or the kernel refuse the rule, and so is it here.
   * - `not carried`: the rule was read, but this part of it has no equal here.
   * - `warning`: carried, but look at it.
   * - `by hand`: what the node needs besides, as a command.
   */
  kind: 'refused' | 'not carried' | 'warning' | 'by hand';
  text: string;
}

/** A rule that is refused, with the reason. */
export class Refusal extends Error {}
