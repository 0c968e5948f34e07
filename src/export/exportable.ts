import { z } from 'zod';
import { check, integer, integers, maskedMark, oneOf, u32 } from '../options/checks.js';
import { invalidOption, NfqClusterError } from '../errors.js';
import type { Status } from '../control/status.js';
import type { Engine } from '../engine.js';
import { MAX_BUCKETS } from '../options/limits.js';
import type { Policy, ResolvedInterface, ResolvedOptions } from '../options/types.js';

/** The part of a configuration that exportRules() looks at. */
export type Exportable = Pick<
  ResolvedOptions,
  'hashSeed' | 'buckets' | 'classic' | 'owned' | 'validFor' | 'action' | 'conntrack'
> & {
  interfaces: readonly (Pick<ResolvedInterface, 'name' | 'key'> &
    Partial<Pick<ResolvedInterface, 'addresses' | 'destinations' | 'mac'>>)[];
  policy: Policy;
  /** Only with policy `clusterip`. */
  hashMode?: string;
  marks: Pick<ResolvedOptions['marks'], 'owned'>;
};

/** An engine of this process, as far as it is read. */
export type Running = Pick<Engine, 'options' | 'ownership' | 'conntrack'>;

const text = z.string('a text');
const address = z.object({ address: text, prefix: integer(0, 128) }, 'an object with address');
const entry = z.object(
  {
    name: text,
    key: oneOf('source', 'destination'),
    addresses: z.array(address, 'a list').optional(),
    destinations: oneOf('all', 'addresses').optional(),
    mac: text.optional(),
  },
  'an object with name and key',
);
const buckets = integers(0, MAX_BUCKETS - 1, 0);
const time = check<number>(
  'a number of milliseconds',
  (value) => typeof value === 'number' && value >= 0,
);
const common = {
  policy: oneOf('jhash', 'xt_cluster', 'clusterip'),
  hashSeed: u32,
  buckets: integer(1, MAX_BUCKETS),
  action: oneOf('drop', 'mark'),
  interfaces: z.array(entry, 'a list of interfaces').min(1, 'a non-empty list'),
};

/* What is there besides is passed over. */
const exportableSchema = z.object({
  ...common,
  hashMode: text.optional(),
  classic: z.boolean('true or false'),
  owned: buckets,
  validFor: time,
  conntrack: text,
  marks: z.object({ owned: maskedMark }, 'an object with owned'),
});

const statusSchema = z.object({
  ...common,
  hashMode: text.nullable(),
  nodes: z.array(z.number(), 'a list').nullable(),
  ownedBuckets: buckets,
  ownedMark: maskedMark,
  validFor: time.nullable(),
  conntrack: z.object({ source: text }, 'an object with source'),
});

/**
 * The status of a running engine, of any process, in the form that exportRules() takes.
 * @throws NfqClusterError `ERR_INVALID_OPTION`
 */
export function ofStatus(status: Status): Exportable {
  requireShape(statusSchema, status, 'status', 'what Control.status() gives');
  return {
    policy: status.policy,
    ...(status.hashMode === null ? {} : { hashMode: status.hashMode }),
    hashSeed: status.hashSeed,
    buckets: status.buckets,
    classic: status.nodes !== null,
    owned: status.ownedBuckets,
    validFor: status.validFor ?? Infinity,
    interfaces: status.interfaces,
    action: status.action,
    conntrack: status.conntrack.source,
    marks: { owned: status.ownedMark },
  };
}

/**
 * What an engine owns now, not what it was opened with; or what is given as such.
 * @throws NfqClusterError `ERR_INVALID_OPTION`
 */
export function exportableOf(from: Exportable | Running): Exportable {
  const found = isRunning(from)
    ? {
        ...from.options,
        owned: from.ownership.buckets,
        validFor: from.ownership.validFor,
        conntrack: from.conntrack.source,
      }
    : from;
  requireShape(exportableSchema, found, 'from', 'an engine, or what ofStatus() gives');
  return found;
}

const isRunning = (from: Exportable | Running): from is Running =>
  typeof from === 'object' &&
  (from as object | null) !== null &&
  'ownership' in from &&
  'options' in from;

/** Says of an object that is another one what it lacks; else which of its fields is wrong. */
function requireShape(type: z.ZodType, value: unknown, what: string, expected: string): void {
  const [issue] = type.safeParse(value).error?.issues ?? [];
  if (issue === undefined) return;
  const path = issue.path.map(String).join('.');
  const found = issue.path.reduce<unknown>(
    (at, step) => (at as Record<PropertyKey, unknown>)[step],
    value,
  );
  if (path === '') throw invalidOption(what, expected, value);
  if (found === undefined) throw invalidOption(what, expected, value, `It has no ${path}.`);
  throw invalidOption(`${what}.${path}`, issue.message, found);
}

/**
 * Whether each packet is decided by its own header, as always where the destination is hashed: no rule may ask
 * for its connection.
 */
export const isStateless = ({ conntrack, interfaces }: Exportable): boolean =>
  conntrack === 'off' || interfaces.some(({ key }) => key === 'destination');

/** @throws NfqClusterError `ERR_NOT_EXPORTABLE` where rules would have to tell addresses apart, or to end in time */
export function requireForRules({ interfaces, validFor }: Exportable): void {
  requireThat(validFor === Infinity, 'Rules cannot have a deadline, but this ownership has one');
  requireThat(
    interfaces.every(({ destinations }) => destinations !== 'addresses'),
    'An interface decides only packets to its cluster addresses, but these rules decide everything that arrives',
    "Set its destinations to 'all'",
  );
}

/** @throws NfqClusterError `ERR_NOT_EXPORTABLE` */
export const requireThat = (holds: boolean, reason: string, remedy?: string): void => {
  if (holds) return;
  throw new NfqClusterError('ERR_NOT_EXPORTABLE', reason, { remedy });
};

/** ICMPv6 that every node answers for itself: neighbour and multicast listener discovery. */
export const DISCOVERY = [130, 131, 132, 133, 134, 135, 136, 137, 143];
