import type { Line } from './words.js';
import { MAX_BUCKETS } from '../limits.js';
import { Refusal } from './notes.js';

/** A rule of nft that decides by a hash: buckets from 0. */
export interface HashRule {
  line: number;
  /** Undefined: all. */
  interfaces: string[] | undefined;
  family: 4 | 6 | undefined;
  key: 'source' | 'destination';
  /** Hashes the source of the flow's original direction, and not the packet's own. */
  original: boolean;
  buckets: number;
  hashSeed: number;
  /** The values that count as this node's, less the offset. Some may be out of range. */
  owned: number[];
  /** What happens to those: they are let through or marked, or (`drop`) all others are dropped. */
  effect: 'drop' | 'mark';
  /** As `iptables-translate` writes a rule of one node, off by one. */
  translated: boolean;
}

const HASH =
  /jhash\s+(?:(ct\s+original)\s+)?(?:(ip6?)\s+)?(saddr|daddr)\s+mod\s+(\d+)(?:\s+seed\s+(0x[0-9a-f]+|\d+))?(?:\s+offset\s+(\d+))?/i;
const VALUES = /^\s*(eq|==|!=|ne|vmap)?\s*(\{[^}]*\}|\d+-\d+|0x[0-9a-f]+|\d+)/i;

/** Whether a line of a ruleset hashes, in a way that we or nobody can do alike. */
export const hashes = (text: string): boolean => /\b(jhash|symhash)\b/.test(text);

/**
 * Reads a rule with `jhash`. Where it stores the hash in the mark, the later rules on that mark say which
 * values are this node's.
 */
export function parseHashRule({ number, text }: Line, later: readonly Line[]): HashRule {
  if (/\bsymhash\b/.test(text)) {
    throw new Refusal('symhash has a secret of its own on every node, so that nodes cannot agree');
  }
  const match = HASH.exec(text);
  if (match === null) throw new Refusal('a jhash of something else than one address');
  const [whole, original, ip, address, mod, seed, offset] = match as unknown as (
    string | undefined
  )[];
  if (seed === undefined) throw new Refusal('a jhash without seed has a random one on every node');
  if (Number(mod) < 1 || Number(mod) > MAX_BUCKETS) {
    throw new Refusal(`mod ${mod!}: from 1 to ${MAX_BUCKETS} buckets`);
  }
  const before = text.slice(0, match.index);
  const stored = /meta\s+mark\s+set\s+$/.test(before);
  const behind = text.slice(match.index + whole!.length);
  const decided = stored ? markDecision(later) : decision(behind, text);
  const shift = Number(offset ?? 0);
  const nextRules = later.map((line) => line.text).join('\n');
  return {
    line: number,
    interfaces: interfacesOf(before) ?? (stored ? interfacesOf(nextRules) : undefined),
    family: familyOf(ip, before),
    key: address === 'daddr' ? 'destination' : 'source',
    original: original !== undefined,
    buckets: Number(mod),
    hashSeed: Number(seed) >>> 0,
    owned: decided.values(Number(mod), shift).map((value) => value - shift),
    effect: decided.effect,
    translated:
      offset === undefined && original !== undefined && !stored && /^\s*(eq|==)\s+\d/.test(behind),
  };
}

function familyOf(ip: string | undefined, before: string): 4 | 6 | undefined {
  if (ip !== undefined) return ip === 'ip' ? 4 : 6;
  const [, named] = /nfproto ipv([46])/.exec(before) ?? [];
  return named === undefined ? undefined : named === '4' ? 4 : 6;
}

interface Decision {
  /** The values that are this node's, of a hash of so many from this offset. */
  values: (buckets: number, offset: number) => number[];
  effect: 'drop' | 'mark';
}

/** What behind a hash, or a mark that holds it, says about its values. */
function decision(behind: string, rule: string): Decision {
  const match = VALUES.exec(behind);
  if (match === null) throw new Refusal('cannot see which values of the hash are this node’s');
  const [whole, operator = '==', set] = match as unknown as [string, string | undefined, string];
  const dropped = / drop\b/.test(operator === 'vmap' ? '' : `${behind.slice(whole.length)} `);
  const listed = operator === 'vmap' ? acceptedBy(set) : numbersOf(set);
  const negated = operator === '!=' || operator === 'ne';
  // What is dropped is not this node's.
  const inverse = negated !== dropped;
  return {
    values: (buckets, offset) =>
      inverse ? range(buckets, offset).filter((value) => !listed.includes(value)) : listed,
    effect: dropped || (operator === 'vmap' && / drop\b/.test(rule)) ? 'drop' : 'mark',
  };
}

function markDecision(later: readonly Line[]): Decision {
  for (const { text } of later) {
    const match = /(?:^|\s)(?:meta\s+)?mark\s+(?!set)/.exec(text);
    if (match !== null) return decision(text.slice(match.index + match[0].length), text);
  }
  throw new Refusal(
    'the hash goes into the mark, and no later rule says which mark is this node’s',
  );
}

const acceptedBy = (map: string): number[] =>
  [...map.matchAll(/((?:0x)?[0-9a-f]+(?:\s*-\s*(?:0x)?[0-9a-f]+)?)\s*:\s*(\w+)/gi)]
    .filter(([, , verdict]) => verdict !== 'drop')
    .flatMap(([, values]) => numbersOf(values!));

const numbersOf = (text: string): number[] =>
  text
    .replace(/[{}\s]/g, '')
    .split(',')
    .filter((part) => part !== '')
    .flatMap((part) => {
      const [from, to = from] = part.split('-').map(Number) as [number, number?];
      if (!(from >= 0 && to >= from && to - from < 65_536)) {
        throw new Refusal(`cannot read the values ${JSON.stringify(text)}`);
      }
      return range(to - from + 1, from);
    });

const range = (length: number, first: number): number[] =>
  Array.from({ length }, (_, index) => first + index);

function interfacesOf(text: string): string[] | undefined {
  const match = /iif(?:name)?\s+(\{[^}]*\}|"[^"]*"|[\w.@-]+)/.exec(text);
  return match?.[1]!
    .replace(/[{}"]/g, '')
    .split(',')
    .map((name) => name.trim());
}
