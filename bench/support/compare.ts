import {
  find,
  median,
  nameOf,
  noise,
  type Machine,
  type Result,
  type Run,
  type Settings,
} from './results.js';
import { markdown, short } from './table.js';

/**
 * The change against an earlier run as Markdown: ratios, with the noise of both runs added. A change
 * beyond the noise says whether it is for the better, as does any change of an exact figure; of fewer than three
 * rounds noise is not known. Says ahead of them where the runs are not of the same machine or settings.
 */
export function comparison(now: Run, earlier: Run): string {
  const rows = now.results.flatMap((result) => {
    const before = find(earlier.results, result);
    return before === undefined ? [] : [row(result, before)];
  });
  if (rows.length === 0) return 'Nothing in common with the earlier run.';
  const head = ['', 'before', 'now', 'ratio', 'noise', ''];
  return [
    `Against ${earlier.machine.commit} of ${earlier.date}:`,
    ...unlike('machine', machineOf(now.machine), machineOf(earlier.machine)),
    ...unlike('settings', settingsOf(now.settings), settingsOf(earlier.settings)),
    markdown([head, ...rows]),
  ].join('\n\n');
}

const unlike = (what: string, now: string, before: string): string[] =>
  now === before
    ? []
    : [`**Not of the same ${what}**, so that ratios tell little: ${before} before, ${now} now.`];

const machineOf = ({ processors, processor, kernel, node }: Machine): string =>
  `${processors} × ${processor}, Linux ${kernel}, Node.js ${node}`;

const settingsOf = (settings: Settings | undefined): string =>
  settings === undefined
    ? 'unknown'
    : `${settings.rounds} rounds of ${settings.seconds} s${settings.quick ? ', quick' : ''}`;

function row(now: Result, before: Result): string[] {
  const [from, to] = [median(before.values), median(now.values)];
  const exact = now.exact === true;
  const allowed = exact ? 0 : noise(now.values) + noise(before.values);
  const ratio = from === 0 ? (to === 0 ? 1 : Infinity) : to / from;
  const enough = exact || Math.min(now.values.length, before.values.length) >= 3;
  const changed = enough && Math.abs(ratio - 1) > allowed;
  const improved = now.better === 'higher' ? ratio > 1 : ratio < 1;
  return [
    `${nameOf(now)}, ${now.metric}`,
    `${short(from)} ${now.unit}`.trim(),
    `${short(to)} ${now.unit}`.trim(),
    ratio.toFixed(3),
    `±${allowed.toFixed(3)}`,
    changed ? (improved ? 'better' : 'WORSE') : '',
  ];
}
