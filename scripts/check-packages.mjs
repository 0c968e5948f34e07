/* Ends with 1 and one line of advice if the system lacks what the purposes named need. */
import console from 'node:console';
import process from 'node:process';
import { explain, missing } from './packages.mjs';

const needs = missing(...process.argv.slice(2));
if (needs.length > 0) {
  console.error(`nfq-cluster: ${explain(needs)}`);
  process.exitCode = 1;
}
