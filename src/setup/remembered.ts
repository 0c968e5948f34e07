import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { ResolvedOptions } from '../options/types.js';
import { isMadeOf, OPTIONS, parseMarkers } from './markers.js';
import { rulesName } from './ruleset.js';
import type { Traces } from './traces.js';

/** nft takes comments of at most 128 bytes. */
const LONGEST = 120;

/** The options that make a setup, as lines of the table's transaction. */
export function optionsLines(options: ResolvedOptions): string[] {
  const { interfaces, queues, policy, hashMode, strict, hashSeed, buckets, classic } = options;
  const { queueCpuFanout, action, marks, conntrack, helpers, offload, rules, name } = options;
  const hashed = { policy, hashMode, strict, hashSeed, buckets, classic };
  const made = { interfaces, queues, queueCpuFanout, ...hashed };
  const text = JSON.stringify({ ...made, action, marks, conntrack, helpers, offload, rules, name });
  const packed = deflateRawSync(text).toString('base64url');
  const chain = `inet ${rulesName(options)} ${OPTIONS}`;
  return [
    `add chain ${chain}`,
    `flush chain ${chain}`,
    ...(packed.match(new RegExp(`.{1,${LONGEST}}`, 'g')) ?? []).map(
      (part) => `add rule ${chain} continue comment "${part}"`,
    ),
  ];
}

/**
 * The options of the setup that is there under the name of these, which may differ from them.
 * @returns undefined if there is none, or it was made by another version
 */
export function rememberedOptions(
  options: ResolvedOptions,
  { setups }: Pick<Traces, 'setups'>,
): ResolvedOptions | undefined {
  const { chains = [], comments } = setups[rulesName(options)] ?? {};
  const packed = comments?.[OPTIONS]?.join('');
  if (packed === undefined) return undefined;
  try {
    const json = inflateRawSync(Buffer.from(packed, 'base64url')).toString();
    // The other options, such as what is owned, do not affect the rules.
    const found = { ...options, ...(JSON.parse(json) as Partial<ResolvedOptions>) };
    return isMadeOf(found, parseMarkers(chains)) ? found : undefined;
  } catch {
    return undefined;
  }
}
