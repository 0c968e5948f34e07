export { install, type Installed } from './apply.js';
export { chooseMechanism, reinjectOf } from './probe.js';
export type { Mechanism } from './ruleset.js';
