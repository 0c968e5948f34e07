/* How programs are run. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { native } from '../../src/native.js';
import { run } from '../../src/setup/exec.js';

const built = path.resolve(import.meta.dirname, '../../dist/setup/exec.js');

/** Far more than a process needs to end. */
const PATIENCE_MS = 60_000;

const shell = (script: string, input?: string | Uint8Array): ReturnType<typeof run> =>
  run('sh', ['-c', script], { input });

describe('a program that is run', () => {
  it('is asked in English, whatever the language of the user', async () => {
    assert.equal((await shell('echo "$LC_ALL $PATH"')).stdout, `C ${process.env['PATH']!}\n`);
  });

  it('gets its input by a pipe, since nft 0.9 and 1.0.9 take no socket', async () => {
    const outcome = await shell('test -p /dev/stdin && cat; exit 3', 'rules, é');
    assert.deepEqual(outcome, { status: 3, stdout: 'rules, é', stderr: '' });
  });

  it('gets bytes as they are', async () => {
    const { stdout } = await shell('od -An -tx1', Uint8Array.of(0, 0xff, 0xc3));
    assert.equal(stdout, ' 00 ff c3\n');
  });

  it('has not answered if it was killed', async () => {
    await assert.rejects(shell('echo half an answer; kill -KILL $$'), {
      code: 'ERR_SYSTEM',
      message: /\/sh was killed by SIGKILL$/,
    });
  });

  it('must be there', async () => {
    const found = { code: 'ERR_SYSTEM', syscall: 'posix_spawn', errno: 2 };
    await assert.rejects(run('/nowhere/nft', []), {
      ...found,
      message: 'Cannot run /nowhere/nft: No such file or directory',
    });
    await assert.rejects(run('no-such-program', []), { code: 'ERR_NO_TOOL' });
  });

  it('gets no text that the system would take for a shorter one', async () => {
    await assert.rejects(run('echo', ['a\0b']), /null character/);
  });

  it('is not awaited by a process that exits', () => {
    const script = `import(${JSON.stringify(built)}).then(({ run }) => {
      void run('sleep', ['600']);
      setTimeout(() => process.exit(7), 100);
    })`;
    assert.equal(spawnSync(process.execPath, ['-e', script], { timeout: PATIENCE_MS }).status, 7);
  });

  it('is killed by a worker thread that is terminated', async () => {
    const script = `import(${JSON.stringify(built)}).then(({ run }) => {
      const { parentPort } = require('node:worker_threads');
      void run('sleep', ['600']);
      setTimeout(() => parentPort.postMessage('started'), 100);
    })`;
    const worker = new Worker(script, { eval: true });
    await once(worker, 'message');
    const terminated = worker.terminate().then(() => true);
    assert.ok(await Promise.race([terminated, delay(PATIENCE_MS, false, { ref: false })]));
  });

  it('keeps nobody from reading files', async () => {
    const version = await readFile('/proc/version', 'utf8');
    const programs = Array.from({ length: 8 }, () => run('sleep', ['3']));
    const first = Promise.race(programs).then(() => 'a program');
    assert.equal(await Promise.race([readFile('/proc/version', 'utf8'), first]), version);
    await Promise.all(programs);
  });

  it('is none where Node.js may start none', () => {
    const { allowedNodeEnvironmentFlags: known } = process;
    const flag = known.has('--permission') ? '--permission' : '--experimental-permission';
    const script = `import(${JSON.stringify(built)})
      .then(({ run }) => run('echo', ['started']))
      .then(({ stdout }) => console.log(stdout), ({ code, message }) => console.log(code, message))`;
    const flags = [flag, '--allow-fs-read=*', '--allow-addons', '-e', script];
    const { stdout } = spawnSync(process.execPath, flags, { encoding: 'utf8' });
    assert.match(stdout, /^ERR_SYSTEM Not permitted to run .*echo.*--allow-child-process\n$/);
  });
});

it('the addon refuses to run what is no program', () => {
  const { runProgram } = native as unknown as { runProgram: (...args: unknown[]) => unknown };
  for (const args of [[], ['', '/bin/true', 'no list', [], ''], ['', '/bin/true', [], [], 5]])
    assert.throws(() => runProgram(...args), TypeError);
});
