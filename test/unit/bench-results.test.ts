/* What the benchmarks say of the change against an earlier run, and of the aims. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { AIMS } from '../../bench/aims.js';
import { comparison } from '../../bench/support/compare.js';
import { readRun } from '../../bench/support/earlier.js';
import type { Result, Run, Figure } from '../../bench/support/results.js';
import { standing, type Aim } from '../../bench/support/standing.js';

const RUN: Run = {
  date: '2026-01-02T03:04:05.000Z',
  machine: {
    ...{ processor: 'one', processors: 2, kernel: '6.18', node: 'v20.20.2', commit: 'abc' },
    load: [0, 0],
  },
  settings: { quick: false, rounds: 3, seconds: 3 },
  results: [],
  notes: [],
};

const figure = (more: Partial<Result>): Result => ({
  ...{ bench: 'packets', condition: 'a flood', contender: 'ours', metric: 'handled' },
  ...{ unit: '/s', better: 'higher', values: [100, 99, 101] },
  ...more,
});

const compared = (now: Result, before: Result): string =>
  comparison({ ...RUN, results: [now] }, { ...RUN, results: [before] });

/** The cells of the only row, without its name. */
function cells(now: Partial<Result>, before: Partial<Result>): string[] {
  const lines = compared(figure(now), figure(before)).split('\n');
  assert.equal(lines.length, 5);
  return lines[4]!
    .split('|')
    .slice(2, -1)
    .map((cell) => cell.trim());
}

describe('the change against an earlier run', () => {
  test('says what is beyond the noise of both, and whether it is for the better', () => {
    const before = {};
    assert.deepEqual(cells({ values: [104, 103, 105] }, before), [
      ...['100 /s', '104 /s', '1.040', '±0.020', 'better'],
    ]);
    assert.equal(cells({ values: [96, 95, 97] }, before).at(-1), 'WORSE');
    assert.equal(cells({ values: [101, 100, 102] }, before).at(-1), '');
    const less = { better: 'lower' } as const;
    assert.equal(cells({ ...less, values: [96, 95, 97] }, less).at(-1), 'better');
  });

  test('is judged alike in either direction', () => {
    const [low, high] = [{ values: [100, 40, 160] }, { values: [200, 160, 240] }];
    assert.deepEqual(cells(high, low).slice(2), ['2.000', '±1.000', '']);
    assert.deepEqual(cells(low, high).slice(2), ['0.500', '±0.500', '']);
    const higher = { values: [200, 170, 230] };
    assert.equal(cells(higher, low).at(-1), 'better');
    assert.equal(cells(low, higher).at(-1), 'WORSE');
  });

  test('says nothing of fewer than three rounds, whose noise is not known', () => {
    const unknown = ['0.500', 'unknown', ''];
    assert.deepEqual(cells({ values: [50, 50] }, {}).slice(2), unknown);
    assert.deepEqual(cells({ values: [50, 50, 50] }, { values: [100, 100] }).slice(2), unknown);
  });

  test('any change of an exact figure is one', () => {
    const exact = { exact: true, better: 'lower', unit: '' } as const;
    const changed = cells({ ...exact, values: [461] }, { ...exact, values: [460.8] });
    assert.deepEqual(changed, ['461', '461', '1.000', '±0.000', 'WORSE']);
    assert.equal(cells({ ...exact, values: [460.8] }, { ...exact, values: [460.8] }).at(-1), '');
    const unmarked: Partial<Result> = { better: 'lower', values: [461] };
    assert.equal(cells({ ...exact, values: [460.8] }, unmarked).at(-1), 'better');
  });

  test('what was none before and is some now is worse', () => {
    const lost: Partial<Result> = { better: 'lower', values: [0, 0, 0] };
    assert.deepEqual(cells({ ...lost, values: [1, 1, 1] }, lost).slice(2), [
      ...['+1.00 /s', '±0', 'WORSE'],
    ]);
  });

  test('is the difference of what may be 0 or less', () => {
    const growth: Partial<Result> = { better: 'lower', unit: 'MB' };
    const change = (before: number[], now: number[]): string[] =>
      cells({ ...growth, values: now }, { ...growth, values: before }).slice(2);
    assert.deepEqual(change([-1, -1, -1], [3, 3, 3]), ['+4.00 MB', '±0', 'WORSE']);
    assert.deepEqual(change([-3, -3, -3], [-1, -1, -1]), ['+2.00 MB', '±0', 'WORSE']);
    assert.deepEqual(change([2, 2, 2], [-1, -1, -1]), ['-3.00 MB', '±0', 'better']);
    assert.deepEqual(change([-1, -2, 0], [1, 0, 2]), ['+2.00 MB', '±2.00', '']);
    assert.deepEqual(change([0, 0, 0], [0, 0, 0]), ['0 MB', '±0', '']);
  });

  test('lists what was measured earlier and is missing now', () => {
    const earlier = [{}, { metric: 'lost' }, { bench: 'tcp' }, { bench: 'tcp', metric: 'x' }];
    const said = comparison(
      { ...RUN, results: [figure({})] },
      { ...RUN, results: earlier.map(figure) },
    );
    const list = '- packets: a flood: ours, lost\n- tcp: all';
    assert.ok(said.endsWith(`\n\nMeasured earlier, and not now:\n\n${list}`), said);
    assert.doesNotMatch(compared(figure({}), figure({})), /Measured earlier/);
  });

  test('is of a file that is one of ours', async () => {
    const directory = await mkdtemp(path.join(tmpdir(), 'compare-'));
    const file = path.join(directory, 'results.json');
    const read = async (text: string): Promise<Run> => {
      await writeFile(file, text);
      return readRun(file);
    };
    try {
      const run = { ...RUN, results: [figure({})] };
      assert.deepEqual(await read(JSON.stringify(run)), run);
      assert.throws(() => readRun(`${file}x`), /^Error: It cannot be read: ENOENT/);
      await assert.rejects(read('{'), /It cannot be read: .*JSON/);
      await assert.rejects(read('[]'), /Expected the results\.json of an earlier run/);
      const empty = JSON.stringify({ ...RUN, results: [figure({ values: [] })] });
      await assert.rejects(read(empty), /an earlier run: results\.0\.values:/);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  test('compares what has the same name, and says so where nothing has', () => {
    const nothing = 'Nothing in common with the earlier run.';
    assert.equal(compared(figure({}), figure({ bench: 'latency' })), nothing);
    assert.equal(compared(figure({}), figure({ condition: 'other' })), nothing);
    assert.equal(compared(figure({}), figure({ contender: 'other' })), nothing);
    assert.equal(compared(figure({}), figure({ metric: 'other' })), nothing);
  });

  test('says where the runs are not of the same machine or settings', () => {
    const results = [figure({})];
    const now = { ...RUN, results };
    const said = (earlier: Partial<Run>): string => comparison(now, { ...now, ...earlier });
    assert.doesNotMatch(said({}), /Not of the same/);
    const committed = {
      machine: { ...RUN.machine, commit: 'def', load: [9, 9] as [number, number] },
    };
    assert.doesNotMatch(said(committed), /Not of the same/);
    for (const other of [
      { processor: 'two' },
      { processors: 4 },
      { kernel: '6.1' },
      { node: 'v24' },
    ])
      assert.match(
        said({ machine: { ...RUN.machine, ...other } }),
        /Not of the same machine.* before/,
      );
    assert.match(
      said({ settings: { quick: true, rounds: 2, seconds: 1 } }),
      /Not of the same settings.*: 2 rounds of 1 s, quick before, 3 rounds of 3 s now\./,
    );
    const { settings: _, ...older } = now;
    assert.match(comparison(now, older), /Not of the same settings.*: unknown before/);
  });
});

const figureOf = (contender: string): Figure => ({
  bench: 'packets',
  condition: 'a flood',
  contender,
  metric: 'handled',
});

const resultOf = (contender: string, ...values: number[]): Result => ({
  ...figureOf(contender),
  unit: 'k /s',
  better: 'higher',
  values,
});

/** The cells of the only row. */
function rowOf(results: readonly Result[], aim: Omit<Aim, 'what' | 'ours'>): string[] {
  const lines = standing(results, [{ what: 'handled', ours: figureOf('ours'), ...aim }]).split(
    '\n',
  );
  assert.equal(lines.length, 3);
  return lines[2]!
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim());
}

describe('where the package stands', () => {
  const beside = { theirs: figureOf('theirs') };

  test('a ratio of medians reaches its aim or misses it', () => {
    const results = [resultOf('ours', 300, 290, 310), resultOf('theirs', 200, 100, 210)];
    const known = ['handled', 'ours', 'theirs', '1.50', '±31 %'];
    assert.deepEqual(rowOf(results, { ...beside, least: 1.5 }), [
      ...known,
      '≥ 1.5',
      'reached, within the noise',
    ]);
    assert.deepEqual(rowOf(results, { ...beside, least: 1 }), [...known, '≥ 1', 'reached']);
    assert.deepEqual(rowOf(results, { ...beside, least: 3 }), [...known, '≥ 3', 'MISSED']);
    assert.deepEqual(rowOf(results, { ...beside, most: 1.5 }), [
      ...known,
      '≤ 1.5',
      'reached, within the noise',
    ]);
    assert.deepEqual(rowOf(results, { ...beside, most: 0.5 }), [...known, '≤ 0.5', 'MISSED']);
    assert.deepEqual(rowOf(results, beside), [...known, '', '']);
  });

  test('what is nearer to the aim than both rounds differ is within the noise, on either side', () => {
    const verdict = (least: number, ...results: Result[]): string =>
      rowOf(results, { ...beside, least }).at(-1)!;
    const steady = [resultOf('ours', 96, 96, 96), resultOf('theirs', 100, 100, 100)];
    assert.equal(verdict(1, ...steady), 'MISSED');
    assert.equal(verdict(0.96, ...steady), 'reached');
    const noisy = [resultOf('ours', 96, 93, 99), resultOf('theirs', 100, 98, 102)];
    assert.equal(verdict(1, ...noisy), 'missed, within the noise');
    assert.equal(verdict(0.93, ...noisy), 'reached, within the noise');
    assert.equal(verdict(0.9, ...noisy), 'reached');
  });

  test('noise is a share of what was found, not of the aim', () => {
    const found = (least: number, ...values: number[]): string =>
      rowOf([resultOf('ours', ...values), resultOf('theirs', 100, 98, 102)], { ...beside, least })
        .slice(3)
        .join(' ');
    assert.equal(found(1, 116, 101, 131), '1.16 ±15 % ≥ 1 reached, within the noise');
    assert.equal(found(1, 86, 75, 97), '0.86 ±15 % ≥ 1 MISSED');
  });

  test('of fewer than three rounds noise is not known, but of an exact figure there is none', () => {
    const cells = (ours: Result, theirs: Result): string[] =>
      rowOf([ours, theirs], { ...beside, least: 1 }).slice(4);
    const three = [resultOf('ours', 150, 150, 150), resultOf('theirs', 100, 100, 100)] as const;
    assert.deepEqual(cells(...three), ['±0 %', '≥ 1', 'reached']);
    const unknown = ['unknown', '≥ 1', 'reached, noise unknown'];
    assert.deepEqual(cells(resultOf('ours', 150, 150), three[1]), unknown);
    assert.deepEqual(cells(three[0], resultOf('theirs', 100)), unknown);
    assert.equal(cells(resultOf('ours', 50), three[1]).at(-1), 'missed, noise unknown');
    const exact = (contender: string, value: number): Result => ({
      ...resultOf(contender, value),
      exact: true,
    });
    assert.equal(cells(exact('ours', 99), exact('theirs', 100)).at(-1), 'MISSED');
  });

  test('a ratio is judged by the two digits that are shown', () => {
    const steady = (contender: string, value: number): Result =>
      resultOf(contender, value, value, value);
    const verdict = (value: number): string =>
      rowOf([steady('ours', value), steady('theirs', 1000)], { ...beside, most: 1 }).at(-1)!;
    assert.equal(verdict(1004), 'reached');
    assert.equal(verdict(1006), 'MISSED');
  });

  test('a figure by itself has its unit', () => {
    const cells = rowOf([resultOf('ours', 60, 45, 600)], { most: 100 });
    assert.deepEqual(cells.slice(2), [
      '',
      '60.0 k /s',
      '±463 %',
      '≤ 100 k /s',
      'reached, within the noise',
    ]);
  });

  test('an aim of zero has no noise', () => {
    assert.equal(rowOf([resultOf('ours', 0, 0, 6)], { most: 0 }).at(-1), 'reached');
    assert.equal(rowOf([resultOf('ours', 1, 0, 6)], { most: 0 }).at(-1), 'MISSED');
  });

  test('none may be lost in any round: the worst one is judged', () => {
    const lost = (...values: number[]): Result => ({
      ...resultOf('ours', ...values),
      better: 'lower',
    });
    const verdict = (of: Result, limit: Partial<Aim>): string[] =>
      rowOf([of], { ...limit, always: true }).slice(3);
    assert.deepEqual(verdict(lost(0, 0, 6), { most: 0 }), [
      ...['6.00 k /s', 'worst round', '≤ 0 k /s', 'MISSED'],
    ]);
    assert.equal(verdict(lost(0, 0, 0), { most: 0 }).at(-1), 'reached');
    assert.equal(verdict(lost(79, 60, 81), { most: 80 }).at(-1), 'MISSED');
    assert.equal(verdict(resultOf('ours', 9, 3, 9), { least: 5 }).at(-1), 'MISSED');
  });

  test('what a bench that ran did not measure says so; another bench has no row', () => {
    const missing = ['handled', 'ours', 'theirs', '–', '', '≥ 1', 'not measured'];
    const aim = { ...beside, least: 1 };
    assert.deepEqual(rowOf([resultOf('ours', 1)], aim), missing);
    assert.deepEqual(rowOf([resultOf('theirs', 1)], aim), missing);
    const elsewhere = [{ ...resultOf('ours', 1), bench: 'tcp' }];
    assert.equal(standing(elsewhere, [{ what: 'handled', ours: figureOf('ours') }]), '');
  });

  test('no aim is said twice', () => {
    const said = AIMS.map((aim) => JSON.stringify(aim));
    assert.equal(new Set(said).size, said.length);
  });

  test('what is lost is judged in every round', () => {
    const lost = AIMS.filter(({ ours }) => ours.metric === 'lost');
    assert.ok(lost.length > 0);
    for (const aim of lost) assert.equal(aim.always, true);
  });
});
