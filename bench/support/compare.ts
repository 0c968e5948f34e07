import { median, noise, sameResult, type Result, type Run } from './results.js';
import { markdown, short } from './table.js';

/**
 * The change against an earlier run as Markdown: ratios, with the noise of both runs added. A change
 * beyond the noise says whether it is for the better; of fewer than three rounds noise is not known.
 */
export function comparison(results: readonly Result[], earlier: Run): string {
  const rows = results.flatMap((result) => {
    const before = earlier.results.find((other) => sameResult(other, result));
    return before === undefined ? [] : [row(result, before)];
  });
  if (rows.length === 0) return 'Nothing in common with the earlier run.';
  const head = ['', 'before', 'now', 'ratio', 'noise', ''];
  return `Against ${earlier.machine.commit} of ${earlier.date}:\n\n${markdown([head, ...rows])}`;
}

function row(now: Result, before: Result): string[] {
  const [from, to] = [median(before.values), median(now.values)];
  const allowed = noise(now.values) + noise(before.values);
  const ratio = from === 0 ? (to === 0 ? 1 : Infinity) : to / from;
  const enough = Math.min(now.values.length, before.values.length) >= 3;
  const changed = enough && Math.abs(ratio - 1) > allowed;
  const improved = now.better === 'higher' ? ratio > 1 : ratio < 1;
  return [
    `${now.bench}: ${now.condition}: ${now.contender}, ${now.metric}`,
    `${short(from)} ${now.unit}`,
    `${short(to)} ${now.unit}`,
    ratio.toFixed(3),
    `±${allowed.toFixed(3)}`,
    changed ? (improved ? 'better' : 'WORSE') : '',
  ];
}
