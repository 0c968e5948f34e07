import assert from 'node:assert/strict';
import path from 'node:path';
import type { Namespace } from '../../src/lab/namespaces.js';

/** Built by cmake-js from test/native/inject.cc. */
const program = path.resolve(import.meta.dirname, '../../native/build/bin/inject');

/**
 * Sends frames on an interface, in their order.
 * @param options.rate frames per second; as fast as possible by default
 */
export async function inject(
  namespace: Namespace,
  interfaceName: string,
  frames: readonly Buffer[],
  options: { rate?: number } = {},
): Promise<void> {
  const input = frames.flatMap((frame) => [
    Buffer.from([frame.length >> 8, frame.length & 0xff]),
    frame,
  ]);
  const args = [interfaceName, ...(options.rate === undefined ? [] : [String(options.rate)])];
  const sent = await namespace.run(program, args, Buffer.concat(input));
  assert.equal(Number(sent), frames.length);
}
