/* What plan, apply, status and revert take besides options; a mistake is refused before anything is read or done. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { apply, doctor, plan, revert, status, type Options } from '../../src/index.js';
import { resolveOptions } from '../../src/options/resolve.js';
import { warningsOf } from '../../src/setup/api.js';
import { names } from '../../src/setup/ruleset.js';

const OPTIONS: Options = {
  interfaces: ['lo'],
  hashSeed: 1,
  totalNodes: 2,
  localNode: 1,
  name: 'a',
};

const refused = (
  what: string,
  calls: readonly (() => Promise<unknown>)[],
  message: RegExp,
): void => {
  test(`refused: ${what}`, async () => {
    for (const call of calls) await assert.rejects(call(), { code: 'ERR_INVALID_OPTION', message });
  });
};

const WRONG: readonly [string, unknown, RegExp][] = [
  ['a misspelt name', { nmae: 'web' }, /Unknown option nmae\. Did you mean name\?/],
  ['a name by itself', 'web', /an object with name or netns for the setup but received "web"/],
  ['null', null, /an object with name or netns for the setup but received null/],
  ['a name that none has', { name: 'a b' }, /1 to 16 characters .* for name but received "a b"/],
  ['a number for a namespace', { netns: 4 }, /for netns but received 4/],
];
for (const [what, which, message] of WRONG) {
  const calls = [revert, status].map((call) => () => call(which as object));
  refused(what, calls, message);
}

refused(
  'what apply does not know',
  [plan, apply].map((call) => () => call(OPTIONS, { replce: true } as object)),
  /Unknown option replce\. Did you mean replace\?/,
);

refused(
  'a misspelt namespace of doctor',
  [() => doctor(undefined, { nets: 'x' } as object)],
  /Unknown option nets\. Did you mean netns\?/,
);

refused(
  'another name or namespace than the options have',
  [() => status({ name: 'b' }, OPTIONS), () => status({ netns: 'x' }, OPTIONS)],
  /(a|nothing), as the options say.* but received "[bx]"/,
);

refused(
  'a setup without rules',
  [plan, apply, (options: Options) => status({}, options)].map(
    (call) => () => call({ ...OPTIONS, rules: 'none' }),
  ),
  /one of "auto", .* for rules but received "none"/,
);

test('that all is dropped until an engine decides is said under each action', () => {
  const warned = (more: Partial<Options>): number =>
    warningsOf(resolveOptions({ ...OPTIONS, ...more })).length;
  assert.equal(warned({}), 1);
  assert.equal(warned({ action: 'mark' }), 1);
  const shared = { addresses: ['192.0.2.10/24'], mac: '03:00:00:00:00:01' };
  assert.equal(warned({ interfaces: [{ name: 'lo', ...shared, destinations: 'addresses' }] }), 0);
});

test('an equals sign in a name is refused where sysctl would read it', () => {
  const of = (mac?: string): string[] =>
    names(resolveOptions({ ...OPTIONS, interfaces: [{ name: 'a=b', ...(mac && { mac }) }] }));
  assert.deepEqual(of(), ['a=b']);
  assert.throws(() => of('03:00:00:00:00:01'), {
    code: 'ERR_INVALID_OPTION',
    message: /without =/,
  });
});
