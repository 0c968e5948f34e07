/* For refused.test.ts: an engine in a process that changes its privileges. Its options come as JSON. */
import { open, type Options } from '../../src/index.js';

const engine = await open(JSON.parse(process.argv[2]!) as Options);
engine.on('fault', ({ code }) => process.send!({ fault: code }));

const orders: Record<string, () => unknown> = {
  'lower privileges': () => process.seteuid!(65_534),
  'raise privileges': () => process.seteuid!(0),
  'own nothing': () => engine.setOwnership({ nodes: [] }),
  stats: () => engine.stats(),
  close: () => engine.close(),
};

process.on('message', (order: string) => {
  void (async () => process.send!({ done: order, result: await orders[order]!() }))();
});
process.once('disconnect', () => process.exit());
process.send!({ done: 'open' });
