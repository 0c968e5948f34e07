/*
 * One connection, one request, one answer, each a line of JSON:
 *
 *   {"command":"status"}                         {"ok":true,"result":{…}}
 *   {"command":"own","change":"+2"}              {"ok":true,"result":{…}}
 *   {"command":"own","change":"1,3","validFor":5000}
 *                                                {"ok":false,"error":{"code":"ERR_…","message":"…"}}
 *
 * "validFor" is null where it is Infinity, as JSON has none. It counts from "asked", where that is given: when the
 * client asked, in milliseconds of CLOCK_BOOTTIME. An answer may begin with white space.
 */
import { z } from 'zod';
import type { ErrorCode, ErrorDetails } from '../errors.js';

/** Characters. All 1,023 buckets fit in, written one by one. */
export const LONGEST_REQUEST = 8192;

const HOW_LONG = 'a positive number of milliseconds, or null';

export const requestSchema = z.discriminatedUnion(
  'command',
  [
    z.strictObject({ command: z.literal('status') }),
    z.strictObject({
      command: z.literal('own'),
      change: z.string('a change, such as "+2"'),
      validFor: z.number(HOW_LONG).positive(HOW_LONG).nullable().optional(),
      asked: z.number('milliseconds since the machine began').optional(),
    }),
  ],
  { error: 'an object whose command is "status" or "own"' },
);

export type Request = z.output<typeof requestSchema>;

export type Answer =
  | { ok: true; result: unknown }
  | {
      ok: false;
      error: { code: ErrorCode; message: string } & Pick<
        ErrorDetails,
        'expected' | 'found' | 'remedy'
      >;
    };

/** Further fields, as from an engine of another version, are ignored. */
export const answerSchema = z.discriminatedUnion('ok', [
  z.object({ ok: z.literal(true), result: z.looseObject({}) }),
  z.object({
    ok: z.literal(false),
    error: z.object({
      code: z.string(),
      message: z.string(),
      expected: z.string().optional(),
      found: z.string().optional(),
      remedy: z.string().optional(),
    }),
  }),
]);
