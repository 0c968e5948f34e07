import assert from 'node:assert/strict';
import path from 'node:path';
import type { Namespace } from '../../src/lab/namespaces.js';

/** Built by cmake-js from test/native/inject.cc. */
const program = path.resolve(import.meta.dirname, '../../native/build/bin/inject');

/**
 * Sends frames on an interface, in their order.
 * @param options.rate frames per second; as fast as possible by default
 * @param options.processor the only one on which they are sent, and so received over a virtual wire
 */
export async function inject(
  namespace: Namespace,
  interfaceName: string,
  frames: readonly Buffer[],
  options: { rate?: number; processor?: number } = {},
): Promise<void> {
  const input = frames.flatMap((frame) => [
    Buffer.from([frame.length >> 8, frame.length & 0xff]),
    frame,
  ]);
  const { rate, processor } = options;
  const args = [interfaceName, ...(rate === undefined ? [] : [String(rate)])];
  const [command, ...line] =
    processor === undefined
      ? ([program, ...args] as const)
      : (['taskset', '--cpu-list', String(processor), program, ...args] as const);
  const sent = await namespace.run(command, line, Buffer.concat(input));
  assert.equal(Number(sent), frames.length);
}
