/* For support.test.ts: makes a namespace with a program in it, says so, and never ends. */
import { Namespace } from '../../src/lab/namespaces.js';

const namespace = await Namespace.create();
const program = namespace.spawn('sleep', ['infinity'], { stdio: 'ignore' });
console.log(JSON.stringify([namespace.pid, program.pid]));
