import { exportRules, ofStatus, type Exportable, type ExportFormat } from '../export/index.js';
import { resolveOptions } from '../options.js';
import { controlOf, type ControlFlags } from './control.js';
import { print } from './failure.js';
import type { Flags } from './flags.js';
import { checkOptions, toOptions } from './options.js';

export interface ExportCommandFlags extends Omit<Flags, 'address'>, ControlFlags {
  to: ExportFormat;
  running?: true;
  ipv4?: true;
  address?: string;
}

/** `nfq-cluster export`: a configuration, given or running, as text for another program. */
export async function exportConfiguration(flags: ExportCommandFlags): Promise<void> {
  const { address, ...others } = flags;
  const { to, ipv4, running } = others;
  const from = running === true ? ofStatus(await controlOf(others).status()) : given(others);
  const text = exportRules(from, to, {
    ipv4: ipv4 === true,
    ...(address === undefined ? {} : { address }),
  });
  await print(text);
}

const given = (flags: Flags): Exportable =>
  checkOptions(flags, () => resolveOptions(toOptions(flags)));
