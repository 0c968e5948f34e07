import { keepsBucket } from './conntrack.js';
import { invalidOption } from '../errors.js';
import type { MarkOptions, ResolvedOptions } from './types.js';

/** What the marks are used for. */
type Use = Pick<ResolvedOptions, 'policy' | 'rules' | 'buckets' | 'conntrack' | 'offload'>;

/**
 * The bits of a mark that are ours.
 * @throws NfqClusterError `ERR_INVALID_OPTION`
 */
export function resolveMarks(given: Given | undefined, use: Use): ResolvedOptions['marks'] {
  const carried = use.policy === 'clusterip' || keepsBucket(use);
  if (!carried) refuse('marks.bucket', given?.bucket, CARRIED);
  const directed = use.conntrack !== 'off';
  if (!directed) refuse('marks.direct', given?.direct, FOLLOWED);
  const marks = {
    owned: given?.owned ?? { value: 0xffff, mask: 0xffff },
    multicast: given?.multicast ?? 0x4000_0000,
    decided: given?.decided ?? 0x8000_0000,
    direct: directed ? (given?.direct ?? directOf(use)) : 0,
    bucket: carried ? (given?.bucket ?? 0x03ff_0000) : 0,
  };
  const { value, mask } = marks.owned;
  if (value === 0 || (value & ~mask) !== 0) {
    throw invalidOption(
      'marks.owned',
      'a value that is not 0 and lies within the mask',
      marks.owned,
    );
  }
  if (carried && lowered(marks.bucket) < use.buckets) {
    throw invalidOption('marks.bucket', `bits for a number up to ${use.buckets}`, marks.bucket);
  }
  const used = [mask, marks.multicast, marks.decided, marks.direct, marks.bucket];
  const overlap = used.some((bits, at) => used.slice(at + 1).some((other) => (bits & other) !== 0));
  if (overlap) throw invalidOption('marks', 'bits that do not overlap', given);
  return marks;
}

const CARRIED =
  "It belongs to policy 'clusterip', to conntrack 'mark', and to offload where connections are followed.";
const FOLLOWED = 'It has a use only where conntrack is not off.';

/** Rules of the user's own cannot be presumed to set the bit. */
const directOf = ({ rules }: Use): number => (rules === 'none' ? 0 : 0x2000_0000);

function refuse(name: string, value: number | undefined, remedy: string): void {
  if (value !== undefined) throw invalidOption(name, 'nothing', value, remedy);
}

/** Under action `drop` the owned mark is not used, so its bits are the user's. */
export const ourBits = ({ action, marks }: Pick<ResolvedOptions, 'action' | 'marks'>): number =>
  marks.multicast |
  marks.decided |
  marks.direct |
  marks.bucket |
  (action === 'mark' ? marks.owned.mask : 0);

/**
 * Whether rules behind the queue read the bits that the engine leaves in `multicast` and `bucket`: the user's own
 * rules, and those of policy `clusterip`. Other installed rules do everything ahead of the queue.
 */
export const marksForRules = ({
  rules,
  policy,
}: Pick<ResolvedOptions, 'rules' | 'policy'>): boolean =>
  rules === 'none' || policy === 'clusterip';

/** The lowest of a mask's bits. */
export const lowestBit = (mask: number): number => (mask & -mask) >>> 0;

/** The bits of a mask, shifted so that the lowest is bit 0. */
export const lowered = (mask: number): number => mask / lowestBit(mask);

/** As a schema returns them: what was not given may be present and undefined. */
type Given = { [K in keyof MarkOptions]?: MarkOptions[K] | undefined };
