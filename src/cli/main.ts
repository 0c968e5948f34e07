#!/usr/bin/env node
import { endOnBrokenOutput, report } from './failure.js';

endOnBrokenOutput();
try {
  // Here, so that an addon that cannot be loaded is told as every other failure.
  const { main } = await import('./program.js');
  await main(process.argv.slice(2));
} catch (error) {
  process.exitCode = report(error);
}
