import type { ClusteripConfig } from './clusterip.js';
import type { ClusterMatch } from './cluster.js';
import type { HashRule } from './nft.js';
import { Refusal, type Note } from './notes.js';
import {
  bareMatches,
  has,
  optionNamed,
  optionsOf,
  written,
  type Rule,
  type RuleOption,
} from './rule.js';

const CARRIED =
  /^--(cluster-|match$|jump$|set-x?mark|or-mark|comment$|new$|hashmode|clustermac|total-nodes|local-node|hash-init)/;

/** What narrows a rule down, and has no equal: an engine decides all that enters its interfaces. */
export function unreadParts(rule: Rule, carried: readonly string[]): Note[] {
  const { line } = rule;
  const isCarried = ({ name }: RuleOption): boolean => carried.includes(name) || CARRIED.test(name);
  const many = rule.options.find((option) => isCarried(option) && option.values.length > 1);
  if (many !== undefined) throw new Refusal(`Bad argument ${JSON.stringify(many.values[1])}`);
  const bare = bareMatches(rule);
  const parts = rule.options.filter((option) => !isCarried(option) || bare.includes(option));
  return parts.map((option) => ({
    line,
    kind: 'not carried',
    text: `${written(option)}: an engine decides everything that arrives on its interfaces`,
  }));
}

export function clusterNotes(rule: Rule, match: ClusterMatch, hasInterface: boolean): Note[] {
  const { line, chain } = rule;
  const notes: Note[] = [];
  const add = (kind: Note['kind'], text: string): void => void notes.push({ line, kind, text });
  if (!hasInterface)
    add(
      'warning',
      'the rule is not for a particular interface: list the ones to decide under interfaces',
    );
  if (chain !== 'PREROUTING') add('warning', `chain ${chain}: decided in PREROUTING here`);
  if (match.unrestorable) {
    add('warning', 'iptables itself cannot restore this mask: it takes none above 32');
  }
  if (match.byNode) {
    add('warning', 'iptables-translate writes this rule for another node: its hash counts from 0');
  }
  if (match.inverted) add('warning', 'iptables-translate loses the ! of this rule');
  return notes;
}

export function clusteripNotes(line: number, address: ClusteripConfig, isNew: boolean): Note[] {
  const { address: ip, totalNodes, localNode } = address;
  if (!isNew) {
    return [
      { line, kind: 'warning', text: `a second rule for ${ip}: the first one’s parameters hold` },
    ];
  }
  const notes: Note[] = [
    {
      line,
      kind: 'warning',
      text: `${ip}: the rule has no prefix length; it is added as /32 if the node does not have it yet`,
    },
  ];
  if (localNode > Math.max(1, totalNodes)) {
    const text = `local node ${localNode} of ${totalNodes} owns nothing, here as in the original`;
    notes.push({ line, kind: 'warning', text });
  }
  if (totalNodes === 0) {
    notes.push({
      line,
      kind: 'warning',
      text: 'with 0 nodes, the original gives everything to node 1',
    });
  }
  return notes;
}

/** arptables rules that mangle MACs, as nft says it. */
export function arpByHand(rule: Rule): Note[] {
  const { line } = rule;
  if (!has(rule, '--jump', 'mangle')) return [];
  const options = optionsOf(rule, '--jump', 'mangle');
  const value = (name: string): string | undefined =>
    options.find((option) => option.name === name)?.values[0];
  const sender = value('--mangle-mac-s');
  const target = value('--mangle-mac-d');
  const mac = sender ?? target;
  if (mac === undefined) {
    return [{ line, kind: 'not carried', text: 'an arptables rule that mangles no MAC' }];
  }
  const side = rule.chain.toUpperCase() === 'OUTPUT' ? 'output' : 'input';
  const device = optionNamed(rule, side === 'output' ? '--out-interface' : '--in-interface')
    ?.values[0];
  const seen = optionNamed(rule, '--destination-mac')?.values[0];
  const parts = [
    ...(device === undefined ? [] : [`${side === 'output' ? 'oifname' : 'iifname'} "${device}"`]),
    'arp hlen 6',
    ...(seen === undefined ? [] : [`arp daddr ether ${seen}`]),
    `arp ${sender === undefined ? 'daddr' : 'saddr'} ether set ${mac}`,
  ];
  const chain = `add table arp cluster; add chain arp cluster ${side} { type filter hook ${side} priority 0; }`;
  return [
    {
      line,
      kind: 'by hand',
      text: `nft '${chain}; add rule arp cluster ${side} ${parts.join(' ')}'`,
    },
  ];
}

export function hashNotes(rule: HashRule): Note[] {
  const { line, buckets, decisions, original, key, translated } = rule;
  const notes: Note[] = [];
  const add = (kind: Note['kind'], text: string): void => void notes.push({ line, kind, text });
  for (const part of new Set(decisions.flatMap(({ narrowed }) => narrowed))) {
    add('not carried', `${part}: an engine decides everything that arrives on its interfaces`);
  }
  if (decisions.some(({ interfaces }) => interfaces === undefined))
    add(
      'warning',
      'the rule is not for a particular interface: list the ones to decide under interfaces',
    );
  if (translated !== undefined) {
    const meant =
      translated >= 1 && translated <= buckets ? `. If so, localNode is ${translated}` : '';
    add(
      'warning',
      `hash value ${translated} is node ${translated + 1}, and no offset is given: iptables-translate writes a rule of node ${translated} like this, off by one${meant}`,
    );
  }
  for (const [chain, hook] of new Map(
    decisions.map((decision) => [decision.chain, decision.hook]),
  )) {
    if (hook !== undefined && hook.name !== 'prerouting')
      add('warning', `chain ${chain}, hook ${hook.name}: decided in PREROUTING here`);
  }
  for (const decision of decisions.filter(({ wider }) => wider)) {
    const text = `the ${decision.verdict} by the mark also holds for what arrives elsewhere`;
    notes.push({ line: decision.line, kind: 'not carried', text });
  }
  if (decisions.some(({ beyond }) => beyond)) {
    add(
      'warning',
      `a value that the hash never has: it takes ${buckets} values, from the offset on`,
    );
  }
  if (!original && key === 'source')
    add('warning', 'hashes each packet’s own source, even of replies, as does conntrack "off"');
  return notes;
}
