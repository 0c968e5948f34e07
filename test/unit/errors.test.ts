import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { constants } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import {
  NfqClusterError,
  invalidOption,
  printed,
  remedyForLimit,
  unknownOption,
} from '../../src/errors.js';
import { fromNative } from '../../src/native.js';

/** An error as the addon makes it. */
function nativeFault(kind: string, syscall = 'bind', errno = 16): Error {
  return Object.assign(new Error('queue 3 is taken'), { kind, syscall, errno });
}

describe('an error of this package', () => {
  test('has a name, a code and, behind the summary, what to do', () => {
    const cause = new Error('x');
    const error = new NfqClusterError('ERR_RULES', 'Not so', { remedy: 'Do it', cause });
    assert.ok(error instanceof Error);
    assert.equal(error.name, 'NfqClusterError');
    assert.equal(error.code, 'ERR_RULES');
    assert.equal(error.message, 'Not so. Do it');
    assert.equal(error.remedy, 'Do it');
    assert.equal(error.cause, cause);
    assert.equal(String(error), 'NfqClusterError: Not so. Do it');
  });

  test('has no property that it knows nothing of', () => {
    const error = new NfqClusterError('ERR_CLOSED', 'Closed');
    assert.equal(error.message, 'Closed');
    assert.deepEqual(Object.keys(error).sort(), ['code', 'name']);
    assert.ok(!('cause' in error));
  });

  test('about an option says what was expected and what was found', () => {
    const error = invalidOption('queues', 'a list', 'x', 'Give a list.');
    assert.equal(error.message, 'Expected a list for queues but received "x". Give a list.');
    assert.deepEqual(
      [error.code, error.expected, error.found],
      ['ERR_INVALID_OPTION', 'a list', '"x"'],
    );
    assert.equal(
      invalidOption('queues', 'a list', 5).message,
      'Expected a list for queues but received 5',
    );
  });

  test('about an unknown option names it', () => {
    const error = unknownOption('queus', 'Did you mean queues?');
    assert.equal(error.message, 'Unknown option queus. Did you mean queues?');
    assert.deepEqual([error.code, error.found], ['ERR_INVALID_OPTION', 'queus']);
  });
});

describe('an error of the addon', () => {
  const codes: readonly [string, string][] = [
    ['privilege', 'ERR_PRIVILEGE'],
    ['queueTaken', 'ERR_QUEUE_TAKEN'],
    ['noNfqueue', 'ERR_NO_NFQUEUE'],
    ['noInterface', 'ERR_NO_INTERFACE'],
    ['noNetns', 'ERR_NO_NETNS'],
    ['system', 'ERR_SYSTEM'],
  ];
  for (const [kind, code] of codes) {
    test(`of kind ${kind} becomes ${code}`, () => {
      const fault = nativeFault(kind);
      const error = fromNative(fault);
      assert.ok(error instanceof NfqClusterError);
      assert.deepEqual([error.code, error.errno, error.syscall], [code, 16, 'bind']);
      assert.match(error.message, /^Queue 3 is taken/);
      assert.equal(error.cause, fault);
      assert.equal(error.remedy !== undefined, kind !== 'system');
    });
  }

  test('without an errno names no system call', () => {
    const error = fromNative(nativeFault('system', '', 0)) as NfqClusterError;
    assert.ok(!('errno' in error) && !('syscall' in error));
  });

  test('of any other sort stays what it is', () => {
    for (const other of [new TypeError('x'), 'x', undefined, null, { kind: 'system' }]) {
      assert.equal(fromNative(other), other);
    }
  });
});

function addonError(flags: readonly string[], env: Record<string, string>): NfqClusterError {
  const script = `import('./src/index.ts').catch((error) =>
    console.log(JSON.stringify({ ...error, message: error.message })))`;
  const { stdout, stderr } = spawnSync(
    process.execPath,
    [...flags, '--import', 'tsx', '-e', script],
    {
      cwd: path.resolve(import.meta.dirname, '../..'),
      env: { ...process.env, ...env },
      encoding: 'utf8',
    },
  );
  assert.equal(stderr, '');
  return JSON.parse(stdout) as NfqClusterError;
}

test('an addon that is missing is ERR_ADDON, with what to do', () => {
  const { code, expected, found, remedy, message } = addonError([], {
    NFQ_CLUSTER_PREBUILD: '/nonexistent',
  });
  assert.equal(code, 'ERR_ADDON');
  assert.equal(expected, `an addon built for ${process.platform} ${process.arch}`);
  assert.match(found!, /^No native build was found/);
  assert.match(remedy!, /npm rebuild nfq-cluster/);
  // Else npm 12 says that it has rebuilt it, and has not.
  assert.match(remedy!, /npm install-scripts approve nfq-cluster/);
  assert.equal(message, `The native addon of nfq-cluster cannot be loaded. ${remedy}`);
});

test('where Node.js loads no addons, that is what to change', () => {
  const { code, remedy } = addonError(['--no-addons'], {});
  assert.equal(code, 'ERR_ADDON');
  assert.match(remedy!, /--no-addons.*--allow-addons/);
});

test('where Node.js may not read a file that tells which addon, that is what to allow', () => {
  const { allowedNodeEnvironmentFlags: known } = process;
  const flag = known.has('--permission') ? '--permission' : '--experimental-permission';
  const root = path.resolve(import.meta.dirname, '../..');
  const script = `import(${JSON.stringify(path.join(root, 'dist/native.js'))}).catch(
    ({ code, remedy }) => console.log(code, remedy))`;
  const flags = [flag, `--allow-fs-read=${root}/*`, '--allow-addons', '-e', script];
  const { stdout } = spawnSync(process.execPath, flags, { encoding: 'utf8' });
  assert.equal(stdout, 'ERR_ADDON Start Node.js with --allow-fs-read=/etc/alpine-release\n');
});

test('where a limit made a call fail, raising it is what to do', () => {
  const { EAGAIN, EMFILE, EPERM } = constants.errno;
  assert.match(remedyForLimit(EAGAIN, 'posix_spawn')!, /ulimit -u/);
  assert.match(remedyForLimit(EMFILE, 'pipe2')!, /ulimit -n/);
  for (const [errno, syscall] of [
    [EAGAIN, 'bind'],
    [EPERM, 'clone'],
    [undefined, undefined],
  ] as const)
    assert.equal(remedyForLimit(errno, syscall), undefined);
});

test('memory that a queue thread did not get is told in words', () => {
  const fault = Object.assign(nativeFault('system', '', 0), { message: 'std::bad_alloc' });
  const { code, message } = fromNative(fault) as NfqClusterError;
  assert.equal(code, 'ERR_SYSTEM');
  assert.match(message, /^Not enough memory\. Let the process have more/);
});

test('a remedy stands behind one full stop', () => {
  const { message } = new NfqClusterError('ERR_SYSTEM', 'It said: no.', { remedy: 'Ask again' });
  assert.equal(message, 'It said: no. Ask again');
});

test('a printed value stands as in source, and never throws', () => {
  const cycle: { self?: object } = {};
  cycle.self = cycle;
  const values: readonly [unknown, string][] = [
    ['a "b"', '"a \\"b\\""'],
    [1.5, '1.5'],
    [10n, '10n'],
    [undefined, 'undefined'],
    [null, 'null'],
    [NaN, 'NaN'],
    [Symbol('x'), 'Symbol(x)'],
    [() => 1, 'a function'],
    [[1, 'x'], '[1,"x"]'],
    [{ a: 1 }, '{"a":1}'],
    [Object.create(null), '{}'],
    [new Uint16Array(3), 'a Uint16Array of 6 bytes'],
    [cycle, '[object Object]'],
    [{ a: 1n }, '[object Object]'],
    [{ toJSON: () => undefined }, '[object Object]'],
    ['x'.repeat(60), `"${'x'.repeat(56)}...`],
    ['x'.repeat(58), `"${'x'.repeat(58)}"`],
  ];
  for (const [value, text] of values) assert.equal(printed(value), text);
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  const throwing = new Proxy({}, { get: () => assert.fail() });
  for (const value of [proxy, throwing])
    assert.equal(printed(value), 'an object that cannot be read');
  // At once, which a text of all of it would not be.
  assert.equal(printed(Array(2 ** 32 - 1)), `[${'null,'.repeat(11)}n...`);
});
