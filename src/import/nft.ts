import { inverted, range } from '../options/buckets.js';
import { MAX_BUCKETS } from '../options/limits.js';
import type { MaskedMark } from '../options/types.js';
import { carriedMark } from './mark.js';
import { interfacesIn, interfacesOf, narrowing, type Hook, type Located } from './nft-line.js';
import { Refusal } from './notes.js';

/** A rule of nft that hashes, and what becomes of the hash. */
export interface HashRule {
  line: number;
  family: 4 | 6 | undefined;
  key: 'source' | 'destination';
  /** Hashes the source of the flow's original direction, and not the packet's own. */
  original: boolean;
  buckets: number;
  hashSeed: number;
  /** By the rule itself or, where it stores the hash in the mark, by later ones. */
  decisions: Decision[];
  /** The one value of a rule as `iptables-translate` writes it, off by one. */
  translated: number | undefined;
}

/** What one rule does with some values of the hash. */
interface Decision {
  line: number;
  /** Undefined: all. */
  interfaces: string[] | undefined;
  chain: string;
  /** What else the rule matches. */
  narrowed: string[];
  /** The buckets that it matches, from 0. */
  matched: number[];
  /** It names a value that the hash never has. */
  beyond: boolean;
  /** It compares the mark on more interfaces than those whose packets were hashed into it. */
  wider?: boolean;
  hook: Hook | undefined;
  verdict: 'mark' | 'accept' | 'drop';
  mark?: MaskedMark;
  /** Of the rule, as it is written. */
  statement: string;
}

const HASH =
  /jhash\s+(?:(ct\s+original)\s+)?(?:(ip6?)\s+)?(saddr|daddr)\s+mod\s+(\d+)(?:\s+seed\s+(0x[0-9a-f]+|\d+))?(?:\s+offset\s+(\d+))?/i;
const NUMBER = '(?:0x[0-9a-f]+|\\d+)';
const VALUES = new RegExp(
  `^\\s*(eq|==|!=|ne|vmap)?\\s*(\\{[^}]*\\}|${NUMBER}(?:-${NUMBER})?)(?![\\w.])`,
  'i',
);
/** A comparison of the packet's mark; not of the connection's, nor where it is set or copied. */
const COMPARED_MARK = /(?<!\bct\s+|\bmeta\s+|\bset\s+)(?:\bmeta\s+)?\bmark\b\s*(?!\s*set\b)(?=\S)/;

/** Whether a line of a ruleset hashes, be it in a way that can be carried over or not. */
export const hashes = (text: string): boolean => /\b(jhash|symhash)\b/.test(text);

/**
 * Reads a rule with `jhash`. Where it stores the hash in the mark, all later rules on that mark say what becomes
 * of its values.
 */
export function parseHashRule(line: Located, later: readonly Located[]): HashRule {
  const { number, text } = line;
  const match = hashIn(text);
  requireSeen(line, match);
  const [whole, original, ip, address, mod, seed, offset] = match as unknown as (
    string | undefined
  )[];
  const before = text.slice(0, match.index);
  const behind = text.slice(match.index + whole!.length);
  const hash = { buckets: Number(mod), offset: Number(offset ?? 0) };
  const stored = /meta\s+mark\s+set\s+$/.test(before);
  const decisions = stored
    ? markDecisions(line, before, later, hash)
    : decided(line, before, behind, hash);
  const value = /^\s*(?:eq|==)\s+(\d+)/.exec(behind)?.[1];
  return {
    line: number,
    family: familyOf(ip, before),
    key: address === 'daddr' ? 'destination' : 'source',
    original: original !== undefined,
    buckets: hash.buckets,
    hashSeed: Number(seed) >>> 0,
    decisions,
    translated:
      offset === undefined && original !== undefined && !stored && value !== undefined
        ? Number(value)
        : undefined,
  };
}

function hashIn(text: string): RegExpExecArray {
  if (/\bsymhash\b/.test(text)) {
    throw new Refusal('symhash has a different secret on every node, so nodes cannot agree');
  }
  const match = HASH.exec(text);
  if (match === null) throw new Refusal('a jhash of something other than one address');
  const [, original, , address, mod, seed] = match;
  if (seed === undefined)
    throw new Refusal('a jhash without a seed gets a random one on every node');
  if (Number(mod) < 1 || Number(mod) > MAX_BUCKETS) {
    throw new Refusal(`mod ${mod!}: from 1 to ${MAX_BUCKETS} buckets`);
  }
  if (original !== undefined && address === 'daddr') {
    throw new Refusal('an engine hashes the source of a connection, never its destination');
  }
  return match;
}

/** Where the kernel tracks connections. */
const CONNTRACK_PRIORITY = -200;

/** @throws Refusal where packets have no connection yet, or do not arrive on the interface that an engine sees */
function requireSeen({ text, chain, hook }: Located, [whole, original, ip]: RegExpExecArray): void {
  const behind = text.slice(text.indexOf(whole) + whole.length);
  if (hook !== undefined && original !== undefined && hook.priority <= CONNTRACK_PRIORITY) {
    throw new Refusal(
      `priority ${hook.priority} comes before connection tracking (${CONNTRACK_PRIORITY}): ct original matches nothing there`,
    );
  }
  if (hook?.type === 'nat') {
    throw new Refusal('a chain of type nat sees only the first packet of a connection');
  }
  if (chain.startsWith('bridge ')) {
    throw new Refusal('a bridge’s ports: an engine decides what arrives on the bridge itself');
  }
  const isTranslated = /^\s*(eq\s+\d+|\{[^}]*\})\s+meta\s+pkttype\s+set\s+host\b/.test(behind);
  if (hook !== undefined && original !== undefined && ip === undefined && isTranslated) {
    throw new Refusal(
      'nft lists a rule with -m cluster like this, without its "!", and a node as the next one: give the output of iptables-save',
    );
  }
}

function familyOf(ip: string | undefined, before: string): 4 | 6 | undefined {
  if (ip !== undefined) return ip === 'ip' ? 4 : 6;
  const [, named] = /nfproto ipv([46])/.exec(before) ?? [];
  return named === undefined ? undefined : named === '4' ? 4 : 6;
}

interface Hash {
  buckets: number;
  /** The first value. */
  offset: number;
}

/** What a rule decides by a hash, or by a mark that holds it, between these two parts of it. */
function decided(
  { number: line, chain, hook }: Located,
  before: string,
  behind: string,
  hash: Hash,
): Decision[] {
  const match = VALUES.exec(behind);
  if (match === null) throw new Refusal('cannot see which values of the hash are this node’s');
  const [whole, operator = '==', set] = match as unknown as [string, string | undefined, string];
  const statement = bare(behind.slice(whole.length));
  const interfaces = interfacesOf(before);
  const where = { line, chain, hook, interfaces, narrowed: narrowing(before) };
  if (operator === 'vmap') {
    if (statement !== '') throw unseen(statement);
    const verdicts = verdictsOf(set);
    return [...new Set(verdicts.map(([, verdict]) => verdict))].map((verdict) => ({
      ...where,
      ...among(valuesWith(verdicts, verdict), hash),
      verdict,
      statement: verdict,
    }));
  }
  const listed = among(numbersOf(set), hash);
  const negated = operator === '!=' || operator === 'ne';
  const matched = negated ? inverted(listed.matched, hash.buckets) : listed.matched;
  return [{ ...where, ...listed, ...outcomeOf(statement), matched, statement }];
}

/** The buckets of values. */
function among(
  values: readonly number[],
  { buckets, offset }: Hash,
): Pick<Decision, 'matched' | 'beyond'> {
  const all = values.map((value) => value - offset);
  const matched = all.filter((bucket) => bucket >= 0 && bucket < buckets);
  return { matched, beyond: matched.length < all.length };
}

/** What stands behind a match, without what decides nothing. */
const bare = (text: string): string =>
  text
    .replace(/\bcomment\s+\\?"[^"]*"/g, ' ')
    .replace(/#.*$/, '')
    .replace(/\bcounter(?:\s+name\s+\S+|\s+packets\s+\d+\s+bytes\s+\d+)?/g, ' ')
    .replace(/\bmeta\s+pkttype\s+set\s+(?:host|unicast)\b/g, ' ')
    .replace(/[\s;}'"]+$/, '')
    .replace(/\s+/g, ' ')
    .trim();

const unseen = (statement: string): Refusal =>
  new Refusal(
    `cannot see what becomes of the packets: ${JSON.stringify(statement)} is none of drop, accept, return and a mark that is set to a number`,
  );

/** What a statement makes of the packets. A mark on those that are dropped means nothing. */
function outcomeOf(statement: string): Pick<Decision, 'verdict' | 'mark'> {
  const match = /^(?:(?:meta )?mark set (.+?))?(?:(?:^| )(drop|accept|return))?$/.exec(statement);
  const [, set, verdict] = match ?? [];
  if (set === undefined && verdict === undefined) throw unseen(statement);
  const mark = set === undefined ? undefined : markOf(set);
  if (verdict === 'drop') return { verdict };
  return mark === undefined ? { verdict: 'accept' } : { verdict: 'mark', mark };
}

const CHANGED_MARK = new RegExp(
  `^(?:(?:meta )?mark (?:(?:&|and) (${NUMBER}) )?(\\||or|\\^|xor) )?(${NUMBER})$`,
  'i',
);

/** A number; or the mark itself with bits kept, and others set. */
function markOf(set: string): MaskedMark {
  const match = CHANGED_MARK.exec(set.replace(/[()]/g, ''));
  if (match === null) throw unseen(`mark set ${set}`);
  const [, kept, operator, number] = match;
  const value = Number(number) >>> 0;
  if (operator === undefined) return carriedMark('mark set', { value, mask: 0xffff_ffff });
  const cleared = kept === undefined ? 0 : ~Number(kept) >>> 0;
  if (/\^|xor/i.test(operator) && (value & ~cleared) !== 0) throw unseen(`mark set ${set}`);
  return carriedMark('mark set', { value, mask: (cleared | value) >>> 0 });
}

function markDecisions(
  { text }: Located,
  before: string,
  later: readonly Located[],
  hash: Hash,
): Decision[] {
  const names = interfacesOf(before);
  const narrowed = narrowing(before);
  let again: Located | undefined;
  const decisions = later.flatMap((line): Decision[] => {
    const match = COMPARED_MARK.exec(line.text);
    const head = line.text.slice(0, match?.index);
    const others = interfacesIn(head);
    if (names?.some((name) => others?.includes(name) ?? true) === false) return [];
    if (match === null) {
      if (SET_MARK.test(line.text) && !isOfOther(line.text, text)) again ??= line;
      return [];
    }
    if (again !== undefined) {
      throw new Refusal(
        `line ${again.number} sets the mark again, before line ${line.number} compares it`,
      );
    }
    return decided(line, head, line.text.slice(match.index + match[0].length), hash).map(
      (decision) => ({
        ...decision,
        interfaces: names?.filter((name) => others?.includes(name) ?? true) ?? decision.interfaces,
        narrowed: [...narrowed, ...decision.narrowed],
        wider: names !== undefined && others === undefined,
      }),
    );
  });
  if (decisions.length > 0) return decisions;
  throw new Refusal(
    `the hash goes into the mark, and no later rule says which mark is this node’s: ${text.trim()}`,
  );
}

/** The packet's mark, not the connection's. */
const SET_MARK = /(?<!\bct\s+)\bmark\s+set\b/;

/** Whether a line hashes packets of the other family. */
function isOfOther(text: string, than: string): boolean {
  const [one, other] = [text, than].map((line) => {
    const match = HASH.exec(line);
    return match === null ? undefined : familyOf(match[2], line.slice(0, match.index));
  });
  return one !== undefined && other !== undefined && one !== other;
}

type Verdicts = [value: number, verdict: 'accept' | 'drop'][];

/** Values and their verdicts; `return` is told as `accept`. */
function verdictsOf(map: string): Verdicts {
  return map
    .replace(/[{}]/g, '')
    .split(',')
    .filter((part) => part.trim() !== '')
    .flatMap((part): Verdicts => {
      const [, values, verdict] = /^([^:]*):\s*(drop|accept|return)\s*$/.exec(part) ?? [];
      if (values === undefined) throw unseen(part.trim());
      return numbersOf(values).map((value) => [value, verdict === 'drop' ? 'drop' : 'accept']);
    });
}

const valuesWith = (verdicts: Verdicts, verdict: 'accept' | 'drop'): number[] =>
  verdicts.filter(([, one]) => one === verdict).map(([value]) => value);

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
