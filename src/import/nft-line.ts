import { Refusal } from './notes.js';
import type { Line } from './words.js';

/** A line of a ruleset of nft, or a command, with the chain that its rule is in. */
export interface Located extends Line {
  chain: string;
}

const COMMAND =
  /^.*\b(?:add|insert|create)\s+rule\s+((?:(?:ip6?|inet|bridge|netdev)\s+)?[^\s{]+\s+[^\s{]+)/;
const INTERFACES = /\biif(?:name)?\s+(?:(?:==|eq)\s+)?(\{[^}]*\}|"[^"]*"|[^\s!=<>{}"]+)/;

/** Says of each line in which chain it stands. */
export function located(lines: readonly Line[]): Located[] {
  let table = '';
  let chain = '';
  return lines.map((line) => {
    const { text } = line;
    table = /^\s*table\s+([^{]+?)\s*\{/.exec(text)?.[1] ?? table;
    chain = /\bchain\s+([^\s{]+)\s*\{/.exec(text)?.[1] ?? chain;
    return { ...line, chain: COMMAND.exec(text)?.[1] ?? `${table} ${chain}` };
  });
}

/** The interfaces that a rule is for; undefined: all, or not these alone. */
export function interfacesIn(text: string): string[] | undefined {
  const names = namesIn(text);
  return names?.every(isName) === true ? names : undefined;
}

/**
 * The interfaces that a rule is for; undefined: all.
 * @throws Refusal where they are not named one by one
 */
export function interfacesOf(text: string): string[] | undefined {
  const names = namesIn(text);
  const other = names?.find((name) => !isName(name));
  if (other === undefined) return names;
  throw new Refusal(
    `cannot see which interfaces ${JSON.stringify(other)} stands for: name them one by one`,
  );
}

/** No wildcard, and no set or variable. */
const isName = (name: string): boolean => /^[^*\\@$\s]+$/.test(name);

const namesIn = (text: string): string[] | undefined =>
  INTERFACES.exec(text)?.[1]!
    .replace(/[{}"]/g, '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');

/** What a rule matches besides the interfaces and the family, up to where it hashes or compares. */
export function narrowing(before: string): string[] {
  const rest = before
    .replace(COMMAND, '')
    .replace(/^.*;/, '')
    .replace(INTERFACES, ' ')
    .replace(/\bmeta\s+nfproto\s+ipv[46]\b/, ' ')
    .replace(/\bmeta\s+mark\s+set\s+$/, ' ')
    .replace(/\bcounter(?:\s+packets\s+\d+\s+bytes\s+\d+)?/g, ' ')
    .replace(/\s+/g, ' ')
    .trim();
  return rest === '' ? [] : [rest];
}
