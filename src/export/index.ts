import { z } from 'zod';
import { invalidOption } from '../errors.js';
import { parse } from '../options/parse.js';
import { exportableOf, type Exportable, type Running } from './exportable.js';
import { iptablesRules } from './iptables.js';
import { nftRules } from './nft.js';
import { pacemakerParameters } from './pacemaker.js';

export { ofStatus, type Exportable } from './exportable.js';

export const FORMATS = ['iptables', 'ip6tables', 'nft', 'pacemaker'] as const;
export type ExportFormat = (typeof FORMATS)[number];

export interface ExportFlags {
  /**
   * Only for `nft`: rules for IPv4 alone.
   * @default false
   */
  ipv4?: boolean;
  /** Only for `pacemaker`: the shared address. Default the configuration's, if it has just one. */
  address?: string;
}

const flagsSchema = z.strictObject(
  {
    ipv4: z.boolean('true or false').optional(),
    address: z.string('an IPv4 address').optional(),
  },
  'an object with ipv4 or address',
);

/**
 * A configuration as text for another program, which then makes the same decisions.
 * @param from an engine, of which what it owns now is exported; or what ofStatus() returns. Beware of
 *   `engine.options`, which say what was owned when the engine was opened
 * @throws NfqClusterError `ERR_NOT_EXPORTABLE`, with the reason, if the program cannot decide so;
 *   `ERR_INVALID_OPTION`
 */
export function exportRules(
  from: Exportable | Running,
  to: ExportFormat,
  flags: ExportFlags = {},
): string {
  const exported = exportableOf(from);
  const { ipv4 = false, address } = parse(flagsSchema, flags, 'the flags');
  if (ipv4 && to !== 'nft') throw invalidOption('ipv4', 'nothing', ipv4, 'It belongs to nft.');
  if (address !== undefined && to !== 'pacemaker')
    throw invalidOption('address', 'nothing', address, 'It belongs to pacemaker.');
  switch (to) {
    case 'iptables':
    case 'ip6tables':
      return iptablesRules(exported, to);
    case 'nft':
      return nftRules(exported, ipv4);
    case 'pacemaker':
      return pacemakerParameters(exported, address);
    default:
      throw invalidOption('to', `one of ${FORMATS.join(', ')}`, to);
  }
}
