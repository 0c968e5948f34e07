import assert from 'node:assert/strict';
import { NfqClusterError, printed } from '../../src/errors.js';

/** What an error says: "Expected EXPECTED for NAME but received VALUE", and the remedy behind it. */
export interface Refusal {
  name: string;
  expected: string;
  value: unknown;
  remedy?: string;
}

/** That `call` throws this package's error about an option, to the letter. */
export function refuses(call: () => unknown, { name, expected, value, remedy }: Refusal): void {
  const found = printed(value);
  const summary = `Expected ${expected} for ${name} but received ${found}`;
  const message = remedy === undefined ? summary : `${summary}. ${remedy}`;
  const details = remedy === undefined ? {} : { remedy };
  throwsWith(call, { code: 'ERR_INVALID_OPTION', message, expected, found, ...details });
}

/** That `call` throws the error for an option that does not exist. */
export function refusesUnknown(call: () => unknown, name: string, remedy: string): void {
  const message = `Unknown option ${name}. ${remedy}`;
  throwsWith(call, { code: 'ERR_INVALID_OPTION', message, found: name, remedy });
}

function throwsWith(call: () => unknown, properties: Record<string, unknown>): void {
  assert.throws(call, (error: unknown) => {
    assert.ok(error instanceof NfqClusterError, String(error));
    for (const [key, value] of Object.entries(properties)) {
      assert.deepEqual(error[key as keyof NfqClusterError], value, key);
    }
    return true;
  });
}
