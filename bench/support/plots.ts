import { BarChart, LineChart, ScatterChart } from 'echarts/charts';
import { GridComponent, LegendComponent, TitleComponent } from 'echarts/components';
import * as echarts from 'echarts/core';
import { SVGRenderer } from 'echarts/renderers';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { grouped, median, type Result } from './results.js';

echarts.use([BarChart, LineChart, ScatterChart]);
echarts.use([GridComponent, LegendComponent, TitleComponent, SVGRenderer]);

/** Writes one SVG of bars for each bench and metric. */
export function bars(results: readonly Result[], directory: string): void {
  const groups = grouped(results, ({ bench, metric, unit }) => `${bench} ${metric} (${unit})`);
  for (const [title, group] of groups) {
    const contenders = [...new Set(group.map(({ contender }) => contender))].reverse();
    const conditions = [...new Set(group.map(({ condition }) => condition))];
    const value = (contender: string, condition: string): number | null => {
      const found = group.find((r) => r.contender === contender && r.condition === condition);
      return found === undefined ? null : median(found.values);
    };
    write(directory, title, 120 + 22 * contenders.length * conditions.length, {
      yAxis: { type: 'category', data: contenders },
      xAxis: { type: 'value' },
      series: conditions.map((condition) => ({
        type: 'bar',
        name: condition,
        label: { show: true, position: 'right', formatter: label },
        data: contenders.map((contender) => value(contender, condition)),
      })),
    });
  }
}

interface Point {
  name: string;
  x: number;
  y: number;
}

/** Writes an SVG that shows one figure against another: what belongs together as a line, the rest as points. */
export function curve(
  directory: string,
  title: string,
  axes: { x: string; y: string },
  line: readonly Point[],
  others: readonly Point[],
): void {
  const series = (type: 'line' | 'scatter', points: readonly Point[]): object => ({
    type,
    symbolSize: 7,
    label: { show: true, position: 'right', formatter: ({ name }: { name: string }) => name },
    data: points.map(({ name, x, y }) => ({ name, value: [x, y] })),
  });
  write(directory, title, 420, {
    xAxis: { type: 'value', name: axes.x, nameLocation: 'middle', nameGap: 28 },
    yAxis: { type: 'value', name: axes.y },
    series: [series('line', line), series('scatter', others)],
  });
}

const label = ({ value }: { value: unknown }): string =>
  typeof value === 'number' ? value.toPrecision(3) : '';

function write(directory: string, title: string, height: number, option: object): void {
  const size = { width: 900, height };
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, ...size });
  chart.setOption({
    animation: false,
    backgroundColor: '#ffffff',
    title: { text: title },
    legend: { bottom: 0 },
    grid: {
      left: 24,
      right: 72,
      top: 48,
      bottom: 64,
      outerBoundsMode: 'same',
      outerBoundsContain: 'axisLabel',
    },
    ...option,
  });
  const file = `${title
    .replaceAll('µ', 'u')
    .replaceAll(/[^\w]+/g, '-')
    .replaceAll(/^-|-$/g, '')}.svg`;
  writeFileSync(path.join(directory, file), `${chart.renderToSVGString()}\n`);
  chart.dispose();
}
