import { z } from 'zod';
import { ascending } from './buckets.js';
import {
  adjacentBits,
  check,
  distinct,
  HASH_MODES,
  integer,
  integerOrAuto,
  integers,
  interfaceName,
  maskedMark,
  namespace,
  oneBit,
  oneOf,
  setupName,
  u32,
  U32,
} from './checks.js';
import { resolveConntrack, type Offload } from './conntrack.js';
import { invalidOption } from '../errors.js';
import { MAX_INTERFACES } from './limits.js';
import { resolveMarks } from './marks.js';
import type { Policy, ResolvedInterface, ResolvedOptions, Rules, Shared } from './types.js';
import { resolveShare, shareSchema } from './ownership.js';
import { parse } from './parse.js';
import { resolveShared, sharedSchema } from './shared.js';

/** The options that say how an address becomes a bucket. */
export const hashingSchema = {
  policy: oneOf<Policy>('jhash', 'xt_cluster', 'clusterip').optional(),
  hashMode: oneOf(...HASH_MODES).optional(),
  hashSeed: u32,
  totalNodes: shareSchema.totalNodes,
  buckets: shareSchema.buckets,
};

const schema = z.strictObject(
  {
    ...hashingSchema,
    strict: z.boolean('true or false').optional(),
    queues: integers(0, 65_535, 1).optional(),
    queueCpuFanout: z.boolean('true or false').optional(),
    interfaces: z
      .array(
        z.union(
          [
            interfaceName,
            z.strictObject({
              name: interfaceName,
              key: oneOf('source', 'destination').optional(),
              ...sharedSchema,
            }),
          ],
          'an interface name, or an object with name and key',
        ),
        'a non-empty list of interfaces',
      )
      .min(1, 'a non-empty list of interfaces')
      .max(MAX_INTERFACES, `at most ${MAX_INTERFACES} interfaces`),
    ...shareSchema,
    action: oneOf('drop', 'mark').optional(),
    marks: z
      .strictObject(
        {
          owned: maskedMark.optional(),
          multicast: oneBit.optional(),
          decided: oneBit.optional(),
          direct: oneBit.optional(),
          bucket: adjacentBits.optional(),
        },
        'an object with owned, multicast, decided, direct or bucket',
      )
      .optional(),
    conntrack: oneOf('auto', 'queue', 'netlink', 'mark', 'off').optional(),
    helpers: z.boolean('true or false').optional(),
    offload: distinct<Offload>('flows', 'sources').optional(),
    reinject: oneOf('accept', 'repeat').optional(),
    rules: oneOf('none', 'auto', 'nft', 'nft-compat', 'xtables').optional(),
    name: setupName.optional(),
    queueLength: integer(1, U32).optional(),
    receiveBuffer: integer(4096, 0x3fff_ffff).optional(),
    gather: integer(0, 10_000).optional(),
    busyPoll: integer(0, 10_000).optional(),
    realtime: integerOrAuto(0, 99).optional(),
    netns: namespace.optional(),
    /* sun_path has 108 bytes, and the socket is first bound under another name in the same directory. */
    control: check<string>(
      '"none", "auto" or an absolute path of at most 80 bytes',
      (value) =>
        value === 'none' ||
        value === 'auto' ||
        (typeof value === 'string' &&
          /^\/\P{Cc}*[^/\p{Cc}]$/u.test(value) &&
          Buffer.byteLength(value) <= 80),
    ).optional(),
  },
  'an object of options',
);

type Checked = z.output<typeof schema>;

/**
 * Checks everything that can be checked without asking the system, and fills in the defaults.
 * @param byDefault the default of `rules`: for a setup it is `auto`
 * @throws NfqClusterError `ERR_INVALID_OPTION`, naming the option, what it must be and what it was.
 */
export function resolveOptions(input: unknown, byDefault: Rules = 'none'): ResolvedOptions {
  const options = parse(schema, input, 'options');
  const queues = resolveQueues(options.queues);
  if (options.policy !== 'clusterip') {
    refuseClusteripOnly({ strict: options.strict });
  }
  const share = resolveShare(options);
  const interfaces = resolveInterfaces(options);
  const hashing = resolveHashing(options);
  const rules = options.rules ?? byDefault;
  const followed = resolveConntrack(options, { policy: hashing.policy, interfaces, rules });
  return {
    queues,
    queueCpuFanout: resolveFanout(options.queueCpuFanout, queues, rules),
    interfaces,
    ...hashing,
    strict: options.strict ?? false,
    hashSeed: options.hashSeed,
    ...share,
    action: options.action ?? 'drop',
    marks: resolveMarks(options.marks, {
      policy: hashing.policy,
      rules,
      buckets: share.buckets,
      ...followed,
    }),
    ...followed,
    helpers: options.helpers ?? true,
    reinject: resolveReinject(options.reinject, rules),
    rules,
    name: options.name ?? `q${queues[0]!}`,
    queueLength: options.queueLength ?? 16_384,
    receiveBuffer: options.receiveBuffer ?? 32 * 1024 * 1024,
    gather: options.gather ?? 0,
    busyPoll: options.busyPoll ?? 0,
    realtime: options.realtime ?? 'auto',
    netns: options.netns,
    control: options.control ?? 'none',
  };
}

/** Freezes it and all that is in it. */
export function frozen<T extends object>(value: T): T {
  for (const part of Object.values(value) as unknown[])
    if (typeof part === 'object' && part !== null) frozen(part);
  return Object.freeze(value);
}

function resolveQueues(given: readonly number[] = [0]): number[] {
  const queues = ascending(given);
  if (queues.at(-1)! - queues[0]! === queues.length - 1) return queues;
  throw invalidOption(
    'queues',
    'consecutive numbers',
    given,
    'One rule spreads packets over a range of queues.',
  );
}

/** Refused with a single queue, as by iptables and nft. */
function resolveFanout(asked = false, queues: readonly number[], rules: Rules): boolean {
  if (!asked) return false;
  const refused = (where: string, remedy: string): Error =>
    invalidOption('queueCpuFanout', `false where ${where}`, asked, remedy);
  const [first, last] = [queues[0]!, queues.at(-1)!];
  if (first === last)
    throw refused('there is one queue', 'Give a queue for each processor that handles packets.');
  if (rules === 'none') {
    throw refused(
      'rules is "none"',
      `Give it to your own rule: "--queue-balance ${first}:${last} --queue-cpu-fanout", or nft's "queue num ${first}-${last} fanout".`,
    );
  }
  return true;
}

/** Refused where rules are installed: these say how a packet returns. */
function resolveReinject(
  asked: ResolvedOptions['reinject'] | undefined,
  rules: Rules,
): ResolvedOptions['reinject'] {
  if (asked === undefined || rules === 'none') return asked ?? 'accept';
  throw invalidOption(
    'reinject',
    'nothing',
    asked,
    "It belongs to rules of your own, rules 'none'.",
  );
}

function resolveInterfaces(options: Checked): ResolvedInterface[] {
  const interfaces = options.interfaces.map((entry) =>
    typeof entry === 'string' ? { name: entry } : entry,
  );
  if (new Set(interfaces.map(({ name }) => name)).size !== interfaces.length) {
    throw invalidOption('interfaces', 'each interface once', options.interfaces);
  }
  const clusterip = options.policy === 'clusterip';
  const shared = resolveShared(interfaces, clusterip ? 'addresses' : 'all');
  if (clusterip) shared.forEach(refuseIpv6);
  return interfaces.map(({ name, key = 'source' }, at) => ({ name, key, ...shared[at]! }));
}

function refuseIpv6({ addresses }: Shared, at: number): void {
  const index = addresses.findIndex(({ family }) => family === 6);
  const found = addresses[index];
  if (found === undefined) return;
  throw invalidOption(
    `interfaces.${at}.addresses.${index}`,
    "an IPv4 address with policy 'clusterip'",
    `${found.address}/${found.prefix}`,
    "It decides no IPv6, so every node would accept everything. Share the address in another setup, with another policy and destinations 'addresses'.",
  );
}

/**
 * Resolves the options that only policy `clusterip` has.
 * @throws NfqClusterError `ERR_INVALID_OPTION` if another policy is given such an option
 */
export function resolveHashing(
  options: Partial<Pick<Checked, 'policy' | 'hashMode'>>,
): Pick<ResolvedOptions, 'policy' | 'hashMode'> {
  const { policy = 'jhash', hashMode } = options;
  if (policy !== 'clusterip') refuseClusteripOnly({ hashMode });
  return { policy, hashMode: hashMode ?? 'sourceip' };
}

function refuseClusteripOnly(options: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    throw invalidOption(name, 'nothing', value, "It belongs to policy 'clusterip'.");
  }
}
