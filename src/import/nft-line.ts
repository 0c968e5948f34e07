import { Refusal } from './notes.js';
import type { Line } from './words.js';

/** A line of a ruleset of nft, or a command, with the chain that its rule is in. */
export interface Located extends Line {
  chain: string;
  /** What the chain is hooked to; undefined where the text does not show the chain. */
  hook: Hook | undefined;
}

export interface Hook {
  /** `none` for a chain that others jump to. */
  name: string;
  type: string;
  priority: number;
}

const COMMAND =
  /^.*\b(?:add|insert|create)\s+rule\s+((?:(?:ip6?|inet|bridge|netdev)\s+)?[^\s{]+\s+[^\s{]+)/;
/* Not as a part of something else: `fib saddr . iif oif`, `iifname . ip saddr`, `iifname vmap`. */
const INTERFACES =
  /(?<!\.\s*)\biif(?:name)?\s+(?:(?:==|eq)\s+)?(?!\.|v?map\b)(\{[^}]*\}|"[^"]*"|[^\s!=<>{}"]+)/;
const HOOK = /\btype\s+(\w+)\s+hook\s+(\w+)\b.*?\bpriority\s+([^;]+);/;
const NO_HOOK: Hook = { name: 'none', type: '', priority: 0 };
const PRIORITIES: Readonly<Record<string, number>> = {
  raw: -300,
  mangle: -150,
  dstnat: -100,
  filter: 0,
  security: 50,
  srcnat: 100,
};

/** Says of each line in which chain it stands. */
export function located(lines: readonly Line[]): Located[] {
  let table = '';
  let chain = '';
  let hook: Hook | undefined;
  return lines.map((line) => {
    const { text } = line;
    table = /^\s*table\s+([^{]+?)\s*\{/.exec(text)?.[1] ?? table;
    const begun = /\bchain\s+([^\s{]+)\s*\{/.exec(text)?.[1];
    if (begun !== undefined) [chain, hook] = [begun, NO_HOOK];
    hook = hookIn(text) ?? hook;
    const command = COMMAND.exec(text)?.[1];
    return command === undefined
      ? { ...line, chain: `${table} ${chain}`, hook }
      : { ...line, chain: command, hook: undefined };
  });
}

/** `raw`, `-300`, or `raw + 10`. */
function hookIn(text: string): Hook | undefined {
  const [, type, name, priority] = HOOK.exec(text) ?? [];
  if (type === undefined) return undefined;
  const [, base = '', rest = '0'] = /^([a-z]*)\s*([+-]?\s*\d+)?/.exec(priority!.trim())!;
  return { name: name!, type, priority: (PRIORITIES[base] ?? 0) + Number(rest.replace(/\s/g, '')) };
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
