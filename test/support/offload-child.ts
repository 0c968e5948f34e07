/* For offload.test.ts: an engine that owns all for a while and never renews it. Its options come as JSON. */
import { open, type Options } from '../../src/index.js';

const engine = await open(JSON.parse(process.argv[2]!) as Options);
console.log(engine.ownership.validFor);
