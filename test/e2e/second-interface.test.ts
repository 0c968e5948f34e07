/* A second interface on the cluster's wire, which sees its frames, too. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { apply, doctor, open, revert, type Options, type Policy } from '../../src/index.js';
import { capture } from '../support/capture.js';
import { inject } from '../support/inject.js';
import { told } from '../support/neighbours.js';
import { bytes, ping } from '../support/packets.js';
import { waitFor } from '../support/processes.js';
import { mechanismsHere, OTHER, twoWires } from '../support/rules-lab.js';
import { CLUSTER, clusterOptions, NODE, SENDER, wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

const OTHER_CLUSTER = '03:00:00:00:00:99';
const CLIENT = { 4: '10.9.0.1', 6: 'fd09::1' };

/** Policy `clusterip` decides IPv4 alone. */
const familiesOf = (policy: Policy): readonly (4 | 6)[] => (policy === 'clusterip' ? [4] : [4, 6]);
const sharing = (policy: Policy): Partial<Options> => ({
  interfaces: [
    {
      name: 'eth0',
      mac: CLUSTER.mac,
      addresses: familiesOf(policy).map((family) =>
        family === 4 ? `${CLUSTER.ipv4}/24` : `${CLUSTER.ipv6}/64`,
      ),
    },
  ],
});

describe("the cluster's frames by another interface", { skip }, async () => {
  for (const [title, { kind }] of skip === false ? await mechanismsHere() : []) {
    for (const policy of ['jhash', 'clusterip'] as const) {
      test(`are dropped, and no other packets: ${title}, ${policy}`, async () => {
        await using at = await twoWires();
        const options = clusterOptions(at.node, { policy, rules: kind, ...sharing(policy) });
        await using engine = await open(options);
        await using answers = await capture(at.sender, 'eth0', 'icmp or icmp6');
        for (const family of familiesOf(policy)) {
          const [to, own] = [CLUSTER[`ipv${family}`], OTHER[`ipv${family}`]];
          const src = CLIENT[family];
          await inject(at.sender, 'eth1', [
            ping({ src, dst: to, ethDst: CLUSTER.mac }),
            // One after the other comes out of the node.
            ping({ src, dst: own, ethDst: CLUSTER.mac }),
          ]);
          const from = (address: string) => (frame: Buffer) => frame.includes(bytes(address));
          await answers.seen('an answer of its own address', from(own));
          assert.ok(!answers.frames.some(from(to)));
          // As of another cluster, whose setup decides there.
          await inject(at.sender, 'eth1', [ping({ src, dst: to, ethDst: OTHER_CLUSTER })]);
          await answers.seen('an answer to a frame of another MAC', from(to));
        }
        assert.equal(engine.stats().received, 0);
      });
    }
  }
});

test(
  'an interface by which answers leave tells nobody its MAC for the address',
  { skip },
  async () => {
    await using at = await twoWires();
    const behind = '10.2.0.1';
    await at.sender.ip(`address add ${behind}/24 dev eth1`);
    await using _engine = await open(clusterOptions(at.node, { totalNodes: 1 }));
    await using seen = await capture(at.sender, 'eth1', 'arp or icmp');
    await inject(at.sender, 'eth0', [
      ping({ src: behind, dst: CLUSTER.ipv4, ethDst: CLUSTER.mac }),
    ]);
    await seen.seen('the answer', answerOf(CLUSTER.ipv4, behind));
    const asked = seen.frames.flatMap((frame) => told(frame) ?? []);
    const requests = asked.filter(({ what }) => what === 'request');
    assert.deepEqual(
      requests.map(({ address, mac }) => [address, mac]),
      [['00000000', OTHER.mac]],
    );
  },
);

const TO_SENDER = `neighbour replace ${SENDER.ipv4} lladdr ${SENDER.mac} dev`;

const toCluster = (dst: string): Buffer => ping({ src: SENDER.ipv4, dst, ethDst: CLUSTER.mac });
const answerOf =
  (address: string, to: string = SENDER.ipv4) =>
  (frame: Buffer): boolean =>
    frame.includes(Buffer.concat([bytes(address), bytes(to)]));

/* What it receives then enters by another name, which the rules do not match. */
const ANOTHER_NAME = {
  'is renamed': [
    'link set eth0 down',
    'link set eth0 name eth9',
    'link set eth9 up',
    `${TO_SENDER} eth9 nud permanent`,
  ],
  "becomes a bridge's port": [
    'link add br9 type bridge mcast_snooping 0',
    'link set br9 up',
    'link set eth0 master br9',
  ],
};

/** The bridge has no address. Ubuntu has 2 here, which every network namespace inherits. */
const ANY_SOURCE = { 'ipv4/conf/all/rp_filter': 0, 'ipv4/conf/default/rp_filter': 0 };

for (const [title, commands] of Object.entries(ANOTHER_NAME)) {
  test(`an interface that ${title} passes nothing of the cluster's on`, { skip }, async () => {
    await using at = await wire();
    await at.node.sysctl(ANY_SOURCE);
    await using engine = await open(clusterOptions(at.node, { totalNodes: 1, localNode: 1 }));
    await using answers = await capture(at.sender, 'eth0', 'icmp');
    const send = (dst: string): Promise<void> => inject(at.sender, 'eth0', [toCluster(dst)]);
    await send(CLUSTER.ipv4);
    await answers.seen('an answer of the cluster', answerOf(CLUSTER.ipv4));
    const answered = answers.frames.length;
    await at.node.ip(...commands);
    await send(CLUSTER.ipv4);
    // One after the other comes out of the node.
    await send(NODE.ipv4);
    await answers.seen('an answer of its own address', answerOf(NODE.ipv4));
    assert.ok(!answers.frames.slice(answered).some(answerOf(CLUSTER.ipv4)));
    assert.equal(engine.stats().received, 1);
  });
}

test('an interface that is renamed does not keep what the setup added', { skip }, async () => {
  await using at = await wire();
  const options = clusterOptions(at.node);
  const leftBy = async (undo: () => Promise<void>): Promise<string> => {
    await at.node.ip('link set eth0 down', 'link set eth0 name eth9', 'link set eth9 up');
    await undo();
    const left = await at.node.run('ip', ['address', 'show', 'dev', 'eth9']);
    const macs = await at.node.run('ip', ['maddress', 'show', 'dev', 'eth9']);
    await at.node.ip('link set eth9 down', 'link set eth9 name eth0', 'link set eth0 up');
    return left + macs;
  };
  const assertGone = (left: string): void => {
    assert.match(left, new RegExp(`inet ${NODE.ipv4}/`));
    for (const added of [CLUSTER.ipv4, CLUSTER.mac]) assert.ok(!left.includes(added), left);
  };
  const engine = await open(options);
  assertGone(await leftBy(() => engine.close()));
  await apply(options);
  assertGone(await leftBy(() => revert({ netns: at.node.path })));
});

/* Rules see what enters it as entering the bridge, and its frames have a VLAN's type. */
test("a VLAN's frames that rules see on its bridge alone are dropped", { skip }, async (t) => {
  await using at = await wire();
  try {
    await at.sender.ip('link add link eth0 name eth0.5 type vlan id 5', 'link set eth0.5 up');
  } catch {
    return t.skip('this kernel has no VLAN');
  }
  await at.node.ip(
    'address flush dev eth0',
    'link add br0 type bridge mcast_snooping 0',
    'link set eth0 master br0',
    'link set br0 up',
    'link add link br0 name br0.5 type vlan id 5',
    'link set br0.5 up',
    `address add ${NODE.ipv4}/24 dev br0.5`,
    `${TO_SENDER} br0.5 nud permanent`,
  );
  await at.node.run('modprobe', ['br_netfilter']);
  await at.node.sysctl({
    'bridge/bridge-nf-call-iptables': 1,
    'bridge/bridge-nf-filter-vlan-tagged': 1,
  });
  const interfaces = [{ name: 'br0.5', addresses: [`${CLUSTER.ipv4}/24`], mac: CLUSTER.mac }];
  await using engine = await open(clusterOptions(at.node, { interfaces }));
  await using answers = await capture(at.sender, 'eth0.5', 'icmp');
  await inject(at.sender, 'eth0.5', [toCluster(CLUSTER.ipv4), toCluster(NODE.ipv4)]);
  await answers.seen('an answer of its own address', answerOf(NODE.ipv4));
  assert.ok(!answers.frames.some(answerOf(CLUSTER.ipv4)));
  assert.equal(engine.stats().received, 0);
});

/* Rules would match nothing, and let everything pass undecided. */
test('an ipvlan is refused whose packets rules see on what is below it', { skip }, async (t) => {
  await using at = await wire();
  try {
    await at.node.ip('link add upper link eth0 type ipvlan mode l3s');
  } catch {
    return t.skip('this kernel has no ipvlan');
  }
  const options = (name: string): Options =>
    clusterOptions(at.node, { interfaces: [name], totalNodes: 1 });
  await at.node.ip(
    'address flush dev eth0',
    'link set upper up',
    `address add ${NODE.ipv4}/24 dev upper`,
  );
  const refused = { code: 'ERR_INVALID_OPTION', message: /upper .* eth0/ };
  await assert.rejects(open(options('upper')), refused);
  const { findings } = await doctor(options('upper'));
  assert.ok(findings.some(({ level, found }) => level === 'error' && /upper .* eth0/.test(found)));
  await using engine = await open(options('eth0'));
  const toUpper = ping({ src: SENDER.ipv4, dst: NODE.ipv4, ethDst: NODE.mac });
  await inject(at.sender, 'eth0', [toUpper]);
  await waitFor('it is decided', () => engine.stats().owned === 1);

  await engine.close();
  await at.node.ip('link set upper type ipvlan mode l2');
  await using above = await open(options('upper'));
  await inject(at.sender, 'eth0', [toUpper]);
  await waitFor('it is decided', () => above.stats().owned === 1);
});

test(
  'an alternative name is refused, and the name told by which rules know it',
  { skip },
  async (t) => {
    await using at = await wire();
    try {
      await at.node.ip('link property add dev eth0 altname other0');
    } catch {
      return t.skip('no alternative names here');
    }
    const options = clusterOptions(at.node, { interfaces: ['other0'], totalNodes: 1 });
    const refused = { code: 'ERR_INVALID_OPTION', message: /other0 .* eth0/ };
    await assert.rejects(open(options), refused);
    await assert.rejects(apply(options), refused);
    const { findings } = await doctor(options);
    const told = findings.filter(({ check, level }) => check === 'interface' && level === 'error');
    assert.match(told.map(({ found }) => found).join(), /^What other0 .* eth0, /);
  },
);

/* Its packets pass the rules a second time, by the interface of the VRF, where the kernel has any. */
test('what enters by an interface in a VRF is decided once', { skip }, async (t) => {
  await using at = await wire();
  try {
    await at.node.ip('link add red type vrf table 10');
  } catch {
    return t.skip('this kernel has no VRF');
  }
  await at.node.ip(
    'link set red up',
    'link set eth0 master red',
    'route add default via 10.1.0.1 vrf red',
    `${TO_SENDER} eth0 nud permanent`,
    `neighbour replace ${SENDER.ipv6} lladdr ${SENDER.mac} dev eth0 nud permanent`,
  );
  for (const policy of ['jhash', 'clusterip'] as const) {
    await using engine = await open(
      clusterOptions(at.node, { policy, totalNodes: 1, localNode: 1, ...sharing(policy) }),
    );
    await using answers = await capture(at.sender, 'eth0', 'icmp or icmp6');
    for (const family of familiesOf(policy)) {
      const to = CLUSTER[`ipv${family}`];
      const src = SENDER[`ipv${family}`];
      await inject(at.sender, 'eth0', [ping({ src, dst: to, ethDst: CLUSTER.mac })]);
      await answers.seen('an answer', answerOf(to, src));
    }
    assert.equal(engine.stats().owned, policy === 'clusterip' ? 1 : 2);
  }
});
