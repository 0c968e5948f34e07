export { besides, install, type Installed } from './setup.js';
export { chooseMechanism, reinjectOf } from './probe.js';
export type { Owning } from './owned.js';
export type { Mechanism } from './ruleset.js';
