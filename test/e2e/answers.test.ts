/* What a node answers that owns nothing: nothing, and where others have it answer, doctor tells. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { open, type Engine } from '../../src/index.js';
import { diagnosis, SETUP } from '../support/doctor.js';
import { inject } from '../support/inject.js';
import { tcp } from '../support/packets.js';
import { waitFor } from '../support/processes.js';
import { counter } from '../support/state.js';
import { CLUSTER, clusterOptions, SENDER, wire, type Wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

const ANSWERS = `table inet answers {
  counter resets { }
  chain first { type filter hook prerouting priority -310; tcp flags & rst == rst counter name resets; }
}`;

const REJECT = `table inet firewall {
  chain early { type filter hook prerouting priority raw; tcp dport 23 reject with tcp reset; }
}`;

/** An engine on the node that owns nothing; the sender counts answers. */
async function owningNothing({ node, sender }: Wire): Promise<Engine> {
  await sender.run('nft', ['-f', '-'], ANSWERS);
  const options = clusterOptions(node, { hashSeed: 0, ownership: { nodes: [] } });
  delete options.localNode;
  return open(options);
}

describe('a node that owns nothing', { skip }, () => {
  test('answers what a rule rejects before the decision, and doctor says so', async () => {
    await using at = await wire();
    await using _ = await owningNothing(at);
    await at.node.run('nft', ['-f', '-'], REJECT);
    const syn = tcp({ src: SENDER.ipv4, dst: CLUSTER.ipv4, dport: 23, ethDst: CLUSTER.mac });
    await inject(at.sender, 'eth0', [syn]);
    const answered = async (): Promise<boolean> =>
      (await counter(at.sender, 'answers', 'resets')) === 1;
    await waitFor('the answer', answered);
    const { findings } = await diagnosis(at, SETUP);
    const [told, ...more] = findings.filter(({ check }) => check === 'nft rules');
    assert.match(told!.found, /^A rule in nft's inet firewall early rejects packets before/);
    assert.match(told!.command!, /^nft delete rule inet firewall early handle \d+$/);
    assert.deepEqual(more, []);
  });
});
