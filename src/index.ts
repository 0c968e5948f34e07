export { Control, type ControlTarget } from './control/client.js';
export type { Counts, Status, Summary } from './control/status.js';
export { doctor, type Diagnosis, type Finding, type Level } from './doctor/index.js';
export { findConnection, type Conntrack, type Connection, type Tuple } from './conntrack.js';
export type { ConntrackSource, Offload } from './options/conntrack.js';
export { open, type Engine, type EngineEvents, type Ownership } from './engine.js';
export { NfqClusterError, type ErrorCode } from './errors.js';
export {
  exportRules,
  ofStatus,
  type Exportable,
  type ExportFlags,
  type ExportFormat,
} from './export/index.js';
export {
  Hasher,
  type Address,
  type Explanation,
  type HasherOptions,
  type PacketFields,
} from './hash.js';
export { importRules, type Imported, type ImportedOptions, type Note } from './import/index.js';
export type {
  HashMode,
  InterfaceOptions,
  Key,
  MarkOptions,
  MaskedMark,
  Options,
  OwnershipInput,
  Policy,
  ResolvedInterface,
  ResolvedOptions,
  Rules,
} from './options/types.js';
export {
  apply,
  plan,
  revert,
  status,
  type ApplyOptions,
  type Plan,
  type SetupName,
} from './setup/api.js';
export type { Change } from './setup/changes.js';
export type { Command } from './setup/exec.js';
export type { Step } from './setup/step.js';
export type { Mechanism } from './setup/ruleset.js';
export type { SetupStatus, StepStatus } from './setup/status.js';
export { MAX_BUCKETS, MAX_CLUSTERIP_NODES, MAX_INTERFACES, MAX_NODES } from './options/limits.js';
export type { Latency, Stats } from './stats.js';
