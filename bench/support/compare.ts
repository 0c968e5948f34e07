import {
  find,
  isNoiseKnown,
  median,
  nameOf,
  spread,
  type Machine,
  type Result,
  type Run,
  type Settings,
} from './results.js';
import { markdown, short } from './table.js';

/**
 * The change against an earlier run as Markdown: ratios, with the noise of both runs added. A change
 * beyond the noise says whether it is for the better, as does any change of an exact figure; of fewer than three
 * rounds noise is not known. Of figures that may be 0 or less it is the difference, since a ratio says nothing. Says ahead
 * of them where the runs are not of the same machine or settings, and behind them what was measured earlier alone.
 */
export function comparison(now: Run, earlier: Run): string {
  const rows = now.results.flatMap((result) => {
    const before = find(earlier.results, result);
    return before === undefined ? [] : [row(result, before)];
  });
  if (rows.length === 0) return 'Nothing in common with the earlier run.';
  const head = ['', 'before', 'now', 'ratio or difference', 'noise', ''];
  return [
    `Against ${earlier.machine.commit} of ${earlier.date}:`,
    ...unlike('machine', machineOf(now.machine), machineOf(earlier.machine)),
    ...unlike('settings', settingsOf(now.settings), settingsOf(earlier.settings)),
    markdown([head, ...rows]),
    ...missing(now, earlier),
  ].join('\n\n');
}

/** What was measured earlier alone: each figure, or a benchmark by its name where none of it was. */
function missing(now: Run, earlier: Run): string[] {
  const benches = new Set(now.results.map(({ bench }) => bench));
  const names = earlier.results
    .filter((result) => find(now.results, result) === undefined)
    .map((result) =>
      benches.has(result.bench) ? `${nameOf(result)}, ${result.metric}` : `${result.bench}: all`,
    );
  if (names.length === 0) return [];
  const lines = [...new Set(names)].map((name) => `- ${name}`);
  return [`Measured earlier, and not now:\n\n${lines.join('\n')}`];
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
  const { change, allowed, said, noise: around } = changeOf(now, before);
  const enough = now.exact === true || [now, before].every(isNoiseKnown);
  const changed = enough && Math.abs(change) > allowed;
  const improved = now.better === 'higher' ? change > 0 : change < 0;
  return [
    `${nameOf(now)}, ${now.metric}`,
    `${short(median(before.values))} ${now.unit}`.trim(),
    `${short(median(now.values))} ${now.unit}`.trim(),
    said,
    enough ? around : 'unknown',
    changed ? (improved ? 'better' : 'WORSE') : '',
  ];
}

interface Change {
  /** Above 0 where the figure has grown. */
  change: number;
  /** What of it may be noise. */
  allowed: number;
  said: string;
  noise: string;
}

function changeOf(now: Result, before: Result): Change {
  const [from, to] = [median(before.values), median(now.values)];
  const around = now.exact === true ? 0 : spread(now.values) + spread(before.values);
  if (from > 0 && to > 0) {
    const ratio = to / from;
    // In units of the earlier figure, so that a change is judged alike in either direction.
    const allowed = around / from;
    return { change: ratio - 1, allowed, said: ratio.toFixed(3), noise: `±${allowed.toFixed(3)}` };
  }
  const change = to - from;
  return {
    change,
    allowed: around,
    said: `${change > 0 ? '+' : ''}${short(change)} ${now.unit}`.trim(),
    noise: `±${short(around)}`,
  };
}
