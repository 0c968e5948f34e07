import type { HashRule } from './nft.js';
import { interfacesIn, type Located } from './nft-line.js';
import type { Note } from './notes.js';
import type { Piece } from './pieces.js';
import { has, onlyInterface, optionNamed, optionsOf, written, type Rule } from './rule.js';

/*
 * What stands in one chain with the rules that are carried over, and decides as well: it may take packets away
 * from them, or judge what they leave. An engine does not know of it.
 */

const note = (line: number, rule: string): Note => ({
  line,
  kind: 'not carried',
  text: `${rule}: stands in the same chain and decides, too, but an engine does not know of it`,
});

const MOST_NAMED = 20;

/** Nobody reads thousands. */
function few(notes: readonly Note[]): Note[] {
  const next = notes[MOST_NAMED];
  if (next === undefined) return [...notes];
  const more = `and ${notes.length - MOST_NAMED} more rules that stand beside those that hash`;
  return [...notes.slice(0, MOST_NAMED), { ...next, text: more }];
}

/** Whether what is for one interface, or for any, may concern packets of the other. */
const isMet = (one: string | undefined, other: string | undefined): boolean =>
  one === undefined || other === undefined || one === other;

/** Of iptables. */
export function rulesBeside(rules: readonly Rule[], pieces: readonly Piece[]): Note[] {
  const carried = new Set(pieces.flatMap(({ line, drops = [] }) => [line, ...drops]));
  const read = rules.filter(({ line }) => pieces.some((piece) => piece.line === line));
  const beside = rules.filter(
    (rule) =>
      !carried.has(rule.line) &&
      isMeant(rule) &&
      read.some(
        (other) => isBeside(rule, other) && isMet(onlyInterface(rule), onlyInterface(other)),
      ),
  );
  return few(beside.map((rule) => note(rule.line, rule.options.map(written).join(' '))));
}

const isBeside = (rule: Rule, other: Rule): boolean =>
  rule.program === other.program && rule.table === other.table && rule.chain === other.chain;

/** Whether it decides something, other than an engine does as well. */
function isMeant(rule: Rule): boolean {
  const target = (optionNamed(rule, '--jump') ?? optionNamed(rule, '--goto'))?.values[0];
  if (optionNamed(rule, '--restore-mark') !== undefined) return true;
  if (target === undefined || PASSED_BY.includes(target)) return false;
  if (has(rule, '--match', 'cluster')) return false;
  if (optionNamed(rule, '--protocol')?.values[0] === 'igmp') return false;
  if (optionNamed(rule, '--icmpv6-type') !== undefined) return false;
  const [set] = optionsOf(rule, '--jump', 'MARK');
  return target !== 'MARK' || Number(set?.values[0]?.split('/')[0]) !== 0;
}

/** Targets behind which the next rule is asked, and that leave the mark alone. */
const PASSED_BY = ['LOG', 'NFLOG', 'ULOG', 'TRACE', 'CONNMARK', 'CT', 'TCPMSS', 'DSCP', 'TTL'];

/** Of nft. */
export function linesBeside(lines: readonly Located[], rules: readonly HashRule[]): Note[] {
  const decisions = rules.flatMap((rule) => rule.decisions);
  const carried = new Set([...rules, ...decisions].map(({ line }) => line));
  const found = lines.filter(({ number, text, chain }) => {
    const beside = decisions.filter((decision) => decision.chain === chain);
    if (DROPS_REST.test(text)) return beside.some(({ verdict }) => verdict !== 'accept');
    if (carried.has(number) || !isMeantLine(text)) return false;
    const names = interfacesIn(text) ?? [undefined];
    return beside.some(({ interfaces = [undefined] }) =>
      interfaces.some((other) => names.some((name) => isMet(name, other))),
    );
  });
  return few(found.map(({ number, text }) => note(number, text.trim())));
}

/* Where packets are accepted, that the rest is dropped is what they are taken to mean. */
const DROPS_REST = /\bhook\b.*\bpolicy\s+drop\b/;

const DECIDES = /\b(accept|drop|reject|return|queue|goto|jump|vmap)\b|(?<!\bct\s+)\bmark\s+set\b/;
/* Discovery, IGMP, packets without a connection, other interfaces; and where the mark is only cleared. */
const AS_HERE =
  /\bicmpv6\s+type\b|\bigmp\b|\bct\s+state\s+invalid|\biifname\s+!=\s+\S.*\breturn$|\bnfproto\s+!=\s+ipv[46]\s+return$|\bmark\s+set\s+(meta\s+)?mark\s+(&|and)\s+0x[0-9a-f]+$/;

function isMeantLine(text: string): boolean {
  const rule = text.replace(/\bcomment\s+"[^"]*"/, '').trim();
  if (/^#|\bhook\b|[{]$|\b(jhash|symhash)\b/.test(rule)) return false;
  return DECIDES.test(rule) && !AS_HERE.test(rule);
}
