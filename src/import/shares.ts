import { ascending, inverted } from '../options/buckets.js';
import { refusing, Refusal, type Note } from './notes.js';
import { grouped, wayOf, type Piece, type Share } from './pieces.js';

/** A rule that was refused, and the interface that it is for; undefined: any. */
export interface Refused {
  line: number;
  interfaceName: string | undefined;
}

/**
 * What the rules about each interface come to. An engine decides alike all that enters there, so that rules of
 * all chains and families must come to the same; if not, or where one of them was refused, nothing is carried.
 */
export function sharesOf(
  pieces: readonly Piece[],
  refused: readonly Refused[],
  notes: Note[],
): Share[] {
  // A rule for no one interface holds on each of them.
  const isApart = [...pieces, ...refused].every(({ interfaceName }) => interfaceName !== undefined);
  const groups = isApart ? grouped(pieces, ({ interfaceName }) => interfaceName!) : [[...pieces]];
  return groups.flatMap((group) => {
    const [first] = group;
    const missing = refused.find(
      ({ interfaceName }) => !isApart || interfaceName === first?.interfaceName,
    );
    if (first === undefined) return [];
    if (missing !== undefined) {
      const text = `nothing for ${first.interfaceName ?? 'all interfaces'}: line ${missing.line} is refused, and may concern the same packets`;
      notes.push({ line: first.line, kind: 'not carried', text });
      return [];
    }
    return refusing(group.at(-1)!.line, notes, () => agreed(group, notes)) ?? [];
  });
}

/** The one share of all places, for each interface. */
function agreed(pieces: readonly Piece[], notes: Note[]): Share[] {
  const places = grouped(pieces, (piece) =>
    JSON.stringify([piece.place, piece.interfaceName, wayOf(piece)]),
  ).map((place) => ({ ...place[0]!, owned: ownedOf(place, notes) }));
  const [first, ...others] = places;
  const meaning = (share: Share): string => JSON.stringify([wayOf(share), share.owned]);
  const other = others.find((place) => meaning(place) !== meaning(first!));
  if (other !== undefined) {
    throw new Refusal(
      `lines ${first!.line} and ${other.line} decide differently, but an engine decides everything that arrives on ${first!.interfaceName ?? 'its interfaces'} alike, for both families and all chains`,
    );
  }
  return grouped(places, ({ interfaceName }) => String(interfaceName)).map(([place]) => place!);
}

/**
 * What the rules of one place leave to this node. Rules that mark add up, and so do those that drop; what is
 * accepted is out of reach of a later drop. Where all rules drop, or all accept, the rest meets the opposite.
 */
function ownedOf(place: readonly Piece[], notes: Note[]): number[] {
  const { buckets, line, statement } = place[0]!;
  const verdicts = new Set(place.map(({ verdict }) => verdict));
  const matchedBy = (verdict: Piece['verdict']): number[] => {
    const all = place.filter((piece) => piece.verdict === verdict);
    return ascending([...new Set(all.flatMap(({ matched }) => matched))]);
  };
  const [accepted, dropped] = [matchedBy('accept'), matchedBy('drop')];
  if (verdicts.size === 1) {
    if (verdicts.has('mark')) return matchedBy('mark');
    if (verdicts.has('drop')) return inverted(dropped, buckets);
    const text = `${statement}: owned packets pass and foreign ones are dropped, as if a rule behind it dropped the rest`;
    notes.push({ line, kind: 'not carried', text });
    return accepted;
  }
  const lines = [...new Set(place.map((piece) => piece.line))].join(', ');
  if (verdicts.has('mark')) {
    throw new Refusal(`cannot see what lines ${lines} come to: some mark, and some do not`);
  }
  if (accepted.some((bucket) => dropped.includes(bucket))) {
    throw new Refusal(
      `cannot see which of lines ${lines} comes first: they accept and drop the same`,
    );
  }
  if (accepted.length + dropped.length < buckets) {
    throw new Refusal(`cannot see what becomes of what lines ${lines} neither accept nor drop`);
  }
  return accepted;
}
