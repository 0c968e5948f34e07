import { grouped, median, noise, spread, type Result } from './results.js';

/** 1234567 as `1.23 M`: three digits that count. */
export function short(value: number): string {
  const steps = [
    [1e9, ' G'],
    [1e6, ' M'],
    [1e3, ' k'],
  ] as const;
  const [scale, suffix] = steps.find(([least]) => Math.abs(value) >= least) ?? [1, ''];
  const scaled = value / scale;
  const digits = Math.abs(scaled) >= 100 || scaled === 0 ? 0 : Math.abs(scaled) >= 10 ? 1 : 2;
  return `${scaled.toFixed(digits)}${suffix}`;
}

/** The median, and the noise; of a percentage in points, since its median may be 0. */
function cell({ values, unit }: Result): string {
  const around = unit === '%' ? short(spread(values)) : `${Math.round(noise(values) * 100)} %`;
  return `${short(median(values))} ${unit}${values.length > 1 ? ` ±${around}` : ''}`;
}

/** Results as Markdown: a table for each condition, a row for each contender. */
export function tables(results: readonly Result[]): string {
  return [...grouped(results, ({ bench, condition }) => `${bench}: ${condition}`)]
    .map(([title, group]) => `### ${title}\n\n${table(group)}`)
    .join('\n\n');
}

function table(results: readonly Result[]): string {
  const metrics = [...new Set(results.map(({ metric }) => metric))];
  const contenders = [...new Set(results.map(({ contender }) => contender))];
  const rows = contenders.map((contender) => [
    contender,
    ...metrics.map((metric) => {
      const found = results.find((r) => r.contender === contender && r.metric === metric);
      return found === undefined ? '–' : cell(found);
    }),
  ]);
  return markdown([['', ...metrics], ...rows]);
}

/** Rows of cells, padded; the first row is the heading. */
export function markdown(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) =>
    Math.max(3, ...rows.map((row) => row[column]!.length)),
  );
  const line = (row: readonly string[]): string =>
    `| ${row.map((text, column) => (column === 0 ? text.padEnd(widths[column]!) : text.padStart(widths[column]!))).join(' | ')} |`;
  const rule = widths.map((width, column) =>
    column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`,
  );
  const [head, ...body] = rows as [readonly string[], ...(readonly string[])[]];
  return [line(head), `| ${rule.join(' | ')} |`, ...body.map(line)].join('\n');
}
