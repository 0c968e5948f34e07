/* A worker thread that runs a TypeScript file, as `node --import tsx` does only in the main thread. */
import { workerData } from 'node:worker_threads';
import { register } from 'tsx/esm/api';

register();
await import(workerData.file);
