/* What a node answers that owns nothing: nothing, and where others have it answer, doctor tells. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { open, type Engine } from '../../src/index.js';
import { diagnosis, SETUP } from '../support/doctor.js';
import { inject } from '../support/inject.js';
import { ip, ping, tcp } from '../support/packets.js';
import { waitFor } from '../support/processes.js';
import { counter } from '../support/state.js';
import { CLUSTER, clusterOptions, NODE, SENDER, wire, type Wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

const ANSWERS = `table inet answers {
  counter resets { }
  counter problems { }
  counter pongs { }
  chain first { type filter hook prerouting priority -310; tcp flags & rst == rst counter name resets; icmpv6 type parameter-problem counter name problems; icmpv6 type echo-reply counter name pongs; }
}`;

const REJECT = `table inet firewall {
  chain early { type filter hook prerouting priority raw; tcp dport 23 reject with tcp reset; }
}`;

const NO_ARP = `table arp filter {
  chain INPUT { type filter hook input priority 0; arp daddr ip ${CLUSTER.ipv4} drop; }
}`;

/** An engine on the node that owns nothing; the sender counts answers. */
async function owningNothing({ node, sender }: Wire): Promise<Engine> {
  await sender.run('nft', ['-f', '-'], ANSWERS);
  const options = clusterOptions(node, { hashSeed: 0, ownership: { nodes: [] } });
  delete options.localNode;
  return open(options);
}

const answers = ({ sender }: Wire, name: string): Promise<number> =>
  counter(sender, 'answers', name);

describe('a node that owns nothing', { skip }, () => {
  test('answers what a rule rejects before the decision, and doctor says so', async () => {
    await using at = await wire();
    await using _ = await owningNothing(at);
    await at.node.run('nft', ['-f', '-'], REJECT);
    const syn = tcp({ src: SENDER.ipv4, dst: CLUSTER.ipv4, dport: 23, ethDst: CLUSTER.mac });
    await inject(at.sender, 'eth0', [syn]);
    await waitFor('the answer', async () => (await answers(at, 'resets')) === 1);
    const { findings } = await diagnosis(at, SETUP);
    const [told, ...more] = findings.filter(({ check }) => check === 'nft rules');
    assert.match(told!.found, /^A rule in nft's inet firewall early rejects packets before/);
    assert.match(told!.command!, /^nft delete rule inet firewall early handle \d+$/);
    assert.deepEqual(more, []);
  });

  test('answers no ARP that a rule drops, and doctor says so', async () => {
    await using at = await wire();
    await using _ = await owningNothing(at);
    await at.node.run('nft', ['-f', '-'], NO_ARP);
    await at.sender.run('sh', ['-c', `ping -c 1 -W 1 ${CLUSTER.ipv4} || true`]);
    const neighbour = await at.sender.run('ip', ['neigh', 'show', CLUSTER.ipv4]);
    assert.match(neighbour, / (INCOMPLETE|FAILED)/);
    const { findings } = await diagnosis(at, SETUP);
    const [told] = findings.filter(({ check }) => check === 'nft rules');
    assert.match(told!.found, /^A rule in nft's arp filter INPUT drops ARP, /);
  });

  test('does not complain of hop-by-hop options, which the kernel reads before any rule', async () => {
    await using at = await wire();
    await using engine = await owningNothing(at);
    const ends = { src: SENDER.ipv6, dst: CLUSTER.ipv6, ethDst: CLUSTER.mac };
    const options = Buffer.from('3b009e0400000000', 'hex'); // no next header, one unknown option
    const echo = ping({ src: SENDER.ipv6, dst: NODE.ipv6 });
    await engine.setOwnership({ nodes: [1, 2] });
    await inject(at.sender, 'eth0', [ip(ends, 0, options), echo]);
    await waitFor('the answer to the last frame', async () => (await answers(at, 'pongs')) === 1);
    assert.equal(await answers(at, 'problems'), 0);
  });
});
