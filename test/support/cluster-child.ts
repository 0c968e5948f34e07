/* For control.test.ts: a worker of a cluster that listens on a control socket, and leaves the cluster. */
import cluster from 'node:cluster';
import { ControlServer } from '../../src/control/server.js';

await ControlServer.listen(process.argv[2]!, (request) => Promise.resolve(request));
cluster.worker!.disconnect();
setInterval(() => undefined, 1000);
