import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import type { Options } from '../../src/index.js';
import { ended } from '../../src/lab/namespaces.js';
import { root } from './processes.js';

interface EngineProcess extends AsyncDisposable {
  /** For how many milliseconds it owns. */
  readonly remaining: number;
  kill(signal: NodeJS.Signals): void;
}

/** An engine in a process of its own, once it decides. */
export async function engineProcess(options: Options): Promise<EngineProcess> {
  const file = path.join(root, 'test/support/offload-child.ts');
  const args = ['--import', 'tsx', file, JSON.stringify(options)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [remaining] = (await Promise.race([
    once(child.stdout, 'data'),
    once(child, 'exit').then(() => assert.fail('the engine did not start')),
  ])) as [Buffer];
  return {
    remaining: Number(remaining),
    kill: (signal) => void child.kill(signal),
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await ended(child);
    },
  };
}
