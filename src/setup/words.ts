/** A mark, as nft and xtables take it. */
export const hex = (bits: number): string => `0x${(bits >>> 0).toString(16)}`;

/** The parts of a rule that there are. */
export const join = (...parts: string[]): string => parts.filter((part) => part !== '').join(' ');

/** Queues as their rules name them, in words. */
export const queuesFrom = (first: number, last: number): string =>
  first === last ? `queue ${first}` : `queues ${first} to ${last}`;
