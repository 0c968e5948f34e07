import { find, isNoiseKnown, median, noise, type Figure, type Result } from './results.js';
import { markdown, short } from './table.js';

/** What one contender's figure shall be: by itself or, with `theirs`, as a ratio to another figure of the run. */
export interface Aim {
  what: string;
  ours: Figure;
  theirs?: Figure;
  /** It shall be that much at least, or at most; neither: for comparison only. */
  least?: number;
  most?: number;
  /** Of every round, so that the worst one is judged; of a figure by itself. */
  always?: true;
}

/** The aims of the benches that ran as Markdown, a row for each. */
export function standing(results: readonly Result[], aims: readonly Aim[]): string {
  const ran = new Set(results.map(({ bench }) => bench));
  const rows = aims.filter(({ ours }) => ran.has(ours.bench)).map((aim) => row(results, aim));
  if (rows.length === 0) return '';
  return markdown([['', 'contender', 'beside', 'found', 'noise', 'aim', ''], ...rows]);
}

function row(results: readonly Result[], aim: Aim): string[] {
  const ours = find(results, aim.ours);
  const theirs = aim.theirs && find(results, aim.theirs);
  const names = [aim.what, aim.ours.contender, beside(aim)];
  if (ours === undefined || (aim.theirs !== undefined && theirs === undefined))
    return [...names, '–', '', limit(aim, ''), 'not measured'];
  const always = aim.always === true;
  const value = always ? worst(ours) : median(ours.values);
  // A ratio is judged as it is shown.
  const found = theirs === undefined ? value : hundredths(value / median(theirs.values));
  const allowed = always ? 0 : noise(ours.values) + noise(theirs?.values ?? [0]);
  const known = always || [ours, ...(theirs ? [theirs] : [])].every(isNoiseKnown);
  const unit = theirs === undefined ? ` ${ours.unit}` : '';
  return [
    ...names,
    `${theirs === undefined ? short(found) : found.toFixed(2)}${unit}`,
    always ? 'worst round' : known ? `±${Math.round(allowed * 100)} %` : 'unknown',
    limit(aim, unit),
    verdict(aim, found, known ? allowed * Math.abs(found) : undefined),
  ];
}

const hundredths = (ratio: number): number => Math.round(ratio * 100) / 100;

const worst = ({ better, values }: Result): number =>
  better === 'lower' ? Math.max(...values) : Math.min(...values);

/** What distinguishes it from ours. */
function beside({ ours, theirs }: Aim): string {
  if (theirs === undefined) return '';
  return theirs.contender === ours.contender ? theirs.condition : theirs.contender;
}

function limit({ least, most }: Aim, unit: string): string {
  if (least !== undefined) return `≥ ${least}${unit}`;
  return most === undefined ? '' : `≤ ${most}${unit}`;
}

/** @param around what of it may be noise, if that is known */
function verdict({ least, most }: Aim, found: number, around: number | undefined): string {
  const aim = least ?? most;
  if (aim === undefined) return '';
  const reached = least === undefined ? found <= aim : found >= aim;
  if (around === undefined) return `${reached ? 'reached' : 'missed'}, noise unknown`;
  const close = aim !== 0 && around > 0 && Math.abs(found - aim) <= around;
  if (close) return `${reached ? 'reached' : 'missed'}, within the noise`;
  return reached ? 'reached' : 'MISSED';
}
