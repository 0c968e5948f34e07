/* What the benchmarks say of the aims. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AIMS } from '../../bench/aims.js';
import type { Figure, Result } from '../../bench/support/results.js';
import { standing, type Aim } from '../../bench/support/standing.js';

const figure = (contender: string): Figure => ({
  bench: 'packets',
  condition: 'a flood',
  contender,
  metric: 'handled',
});

const result = (contender: string, ...values: number[]): Result => ({
  ...figure(contender),
  unit: 'k /s',
  better: 'higher',
  values,
});

/** The cells of the only row. */
function rowOf(results: readonly Result[], aim: Omit<Aim, 'what' | 'ours'>): string[] {
  const lines = standing(results, [{ what: 'handled', ours: figure('ours'), ...aim }]).split('\n');
  assert.equal(lines.length, 3);
  return lines[2]!
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim());
}

describe('where the package stands', () => {
  const beside = { theirs: figure('theirs') };

  test('a ratio of medians reaches its aim or misses it', () => {
    const results = [result('ours', 300, 290, 310), result('theirs', 200, 100, 210)];
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
    const steady = [result('ours', 96, 96, 96), result('theirs', 100, 100, 100)];
    assert.equal(verdict(1, ...steady), 'MISSED');
    assert.equal(verdict(0.96, ...steady), 'reached');
    const noisy = [result('ours', 96, 93, 99), result('theirs', 100, 98, 102)];
    assert.equal(verdict(1, ...noisy), 'missed, within the noise');
    assert.equal(verdict(0.93, ...noisy), 'reached, within the noise');
    assert.equal(verdict(0.9, ...noisy), 'reached');
  });

  test('noise is a share of what was found, not of the aim', () => {
    const found = (least: number, ...values: number[]): string =>
      rowOf([result('ours', ...values), result('theirs', 100, 98, 102)], { ...beside, least })
        .slice(3)
        .join(' ');
    assert.equal(found(1, 116, 101, 131), '1.16 ±15 % ≥ 1 reached, within the noise');
    assert.equal(found(1, 86, 75, 97), '0.86 ±15 % ≥ 1 MISSED');
  });

  test('of fewer than three rounds noise is not known, but of an exact figure there is none', () => {
    const cells = (ours: Result, theirs: Result): string[] =>
      rowOf([ours, theirs], { ...beside, least: 1 }).slice(4);
    const three = [result('ours', 150, 150, 150), result('theirs', 100, 100, 100)] as const;
    assert.deepEqual(cells(...three), ['±0 %', '≥ 1', 'reached']);
    const unknown = ['unknown', '≥ 1', 'reached, noise unknown'];
    assert.deepEqual(cells(result('ours', 150, 150), three[1]), unknown);
    assert.deepEqual(cells(three[0], result('theirs', 100)), unknown);
    assert.equal(cells(result('ours', 50), three[1]).at(-1), 'missed, noise unknown');
    const exact = (contender: string, value: number): Result => ({
      ...result(contender, value),
      exact: true,
    });
    assert.equal(cells(exact('ours', 99), exact('theirs', 100)).at(-1), 'MISSED');
  });

  test('a ratio is judged by the two digits that are shown', () => {
    const steady = (contender: string, value: number): Result =>
      result(contender, value, value, value);
    const verdict = (value: number): string =>
      rowOf([steady('ours', value), steady('theirs', 1000)], { ...beside, most: 1 }).at(-1)!;
    assert.equal(verdict(1004), 'reached');
    assert.equal(verdict(1006), 'MISSED');
  });

  test('a figure by itself has its unit', () => {
    const cells = rowOf([result('ours', 60, 45, 600)], { most: 100 });
    assert.deepEqual(cells.slice(2), [
      '',
      '60.0 k /s',
      '±463 %',
      '≤ 100 k /s',
      'reached, within the noise',
    ]);
  });

  test('an aim of zero has no noise', () => {
    assert.equal(rowOf([result('ours', 0, 0, 6)], { most: 0 }).at(-1), 'reached');
    assert.equal(rowOf([result('ours', 1, 0, 6)], { most: 0 }).at(-1), 'MISSED');
  });

  test('none may be lost in any round: the worst one is judged', () => {
    const lost = (...values: number[]): Result => ({
      ...result('ours', ...values),
      better: 'lower',
    });
    const verdict = (of: Result, limit: Partial<Aim>): string[] =>
      rowOf([of], { ...limit, always: true }).slice(3);
    assert.deepEqual(verdict(lost(0, 0, 6), { most: 0 }), [
      ...['6.00 k /s', 'worst round', '≤ 0 k /s', 'MISSED'],
    ]);
    assert.equal(verdict(lost(0, 0, 0), { most: 0 }).at(-1), 'reached');
    assert.equal(verdict(lost(79, 60, 81), { most: 80 }).at(-1), 'MISSED');
    assert.equal(verdict(result('ours', 9, 3, 9), { least: 5 }).at(-1), 'MISSED');
  });

  test('what a bench that ran did not measure says so; another bench has no row', () => {
    const missing = ['handled', 'ours', 'theirs', '–', '', '≥ 1', 'not measured'];
    const aim = { ...beside, least: 1 };
    assert.deepEqual(rowOf([result('ours', 1)], aim), missing);
    assert.deepEqual(rowOf([result('theirs', 1)], aim), missing);
    const elsewhere = [{ ...result('ours', 1), bench: 'tcp' }];
    assert.equal(standing(elsewhere, [{ what: 'handled', ours: figure('ours') }]), '');
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
