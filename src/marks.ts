import { invalidOption } from './errors.js';
import type { MarkOptions, ResolvedOptions } from './options.js';

/**
 * The bits of a mark that are ours.
 * @param nodes the highest number that a mark must carry; undefined where it carries none
 * @throws NfqClusterError `ERR_INVALID_OPTION`
 */
export function resolveMarks(
  given: Given | undefined,
  nodes: number | undefined,
): ResolvedOptions['marks'] {
  const marks = {
    owned: given?.owned ?? { value: 0xffff, mask: 0xffff },
    multicast: given?.multicast ?? 0x4000_0000,
    decided: given?.decided ?? 0x8000_0000,
    nodeNumber: nodes === undefined ? 0 : (given?.nodeNumber ?? 0x03ff_0000),
  };
  const { value, mask } = marks.owned;
  if (value === 0 || (value & ~mask) !== 0) {
    throw invalidOption(
      'marks.owned',
      'a value that is not 0 and lies within the mask',
      marks.owned,
    );
  }
  if (nodes !== undefined && lowered(marks.nodeNumber) < nodes) {
    throw invalidOption('marks.nodeNumber', `bits for a number up to ${nodes}`, marks.nodeNumber);
  }
  const used = [mask, marks.multicast, marks.decided, marks.nodeNumber];
  const overlap = used.some((bits, at) => used.slice(at + 1).some((other) => (bits & other) !== 0));
  if (overlap) throw invalidOption('marks', 'bits that do not overlap', given);
  return marks;
}

/** The bits of a mask, shifted so that the lowest is bit 0. */
export const lowered = (mask: number): number => mask / ((mask & -mask) >>> 0);

/** As a schema gives them: what was not given may be there and undefined. */
type Given = { [K in keyof MarkOptions]?: MarkOptions[K] | undefined };
