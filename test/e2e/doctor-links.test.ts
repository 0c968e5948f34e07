/* Doctor on interfaces by which packets enter that are not named, or that are not for the node at all. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { doctor, open, type Finding, type Options } from '../../src/index.js';
import { capture } from '../support/capture.js';
import { inject } from '../support/inject.js';
import { bytes, ping, udp } from '../support/packets.js';
import { waitFor } from '../support/processes.js';
import { CLUSTER, clusterOptions, NODE, owningAll, SENDER, wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

const warnings = async (options: Options, check: string): Promise<(string | undefined)[][]> =>
  (await doctor(options)).findings
    .filter((finding) => finding.level === 'warning' && finding.check === check)
    .map(({ found, command }) => [found, command]);

const BY_RULES = {
  'by the kernel parameter': [
    'echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables',
    /net\.bridge/,
  ],
  'by its own switch': ['ip link set br0 type bridge nf_call_iptables 1', /nf_call_iptables 0/],
} as const;

describe('doctor', { skip }, () => {
  for (const [title, [fault, mending]] of Object.entries(BY_RULES)) {
    test(`warns of a bridge whose ports' own packets are decided, ${title}`, async (t) => {
      await using at = await wire();
      const { node, sender } = at;
      await node.veth('guest', sender, 'guest');
      await sender.ip('link set guest up');
      const guest = '02:00:00:00:00:88';
      await node.ip(
        'link add br0 type bridge forward_delay 0',
        'link set br0 up',
        'link set eth0 master br0',
        'link set guest master br0 up',
      );
      await node.run('bridge', ['fdb', 'add', guest, 'dev', 'guest', 'master', 'static']);
      const kernel = await node.run('sh', ['-c', 'ls /proc/sys/net/bridge 2>&1 || true']);
      if (!kernel.includes('bridge-nf-call-iptables')) return t.skip('needs br_netfilter');
      await node.sysctl({
        'bridge/bridge-nf-call-iptables': 0,
        'bridge/bridge-nf-call-ip6tables': 0,
      });
      const options = owningAll(node, {
        interfaces: ['br0'],
        totalNodes: 2,
        ownership: { nodes: [] },
      });
      delete options.localNode;
      await using engine = await open(options);
      await using forwarded = await capture(sender, 'guest', 'udp');
      const frame = udp({ src: '10.1.0.1', dst: '10.1.0.88', ethDst: guest });
      assert.deepEqual(await warnings(options, 'bridge'), []);

      await node.run('sh', ['-ec', fault]);
      await inject(sender, 'eth0', [frame]);
      await waitFor('it is decided', () => engine.stats().foreign === 1);
      const [[found, command] = []] = await warnings(options, 'bridge');
      assert.match(found!, /^What br0 only forwards /);
      assert.match(command!, mending);
      await node.run('sh', ['-ec', command!]);
      assert.deepEqual(await warnings(options, 'bridge'), []);
      await inject(sender, 'eth0', [frame]);
      await forwarded.seen('it is forwarded', (seen) => seen.equals(frame));
      assert.equal(engine.stats().received, 1);
    });
  }

  test('warns of a bridge that keeps the frames from its own machine once there is a querier', async () => {
    await using at = await wire();
    await at.node.ip(
      'link add br0 type bridge forward_delay 0',
      'link set br0 type bridge mcast_query_response_interval 10',
      'link set br0 up',
      'link set eth0 master br0',
    );
    const interfaces = [{ name: 'br0', addresses: [`${CLUSTER.ipv4}/24`], mac: CLUSTER.mac }];
    const options = clusterOptions(at.node, { interfaces, totalNodes: 1 });
    await using _engine = await open(options);
    await at.node.ip(`neighbour add ${SENDER.ipv4} lladdr ${SENDER.mac} dev br0 nud permanent`);
    await waitFor('the bridge forwards', async () =>
      (await at.node.run('bridge', ['link'])).includes('state forwarding'),
    );
    await using answers = await capture(at.sender, 'eth0', 'icmp[0]=0');
    let id = 0;
    const arrives = async (): Promise<boolean> => {
      id += 1;
      const ends = { src: SENDER.ipv4, id };
      // Behind it one for the node alone: once that is answered, so is the other, or never.
      await inject(at.sender, 'eth0', [
        ping({ ...ends, seq: 1, dst: CLUSTER.ipv4, ethDst: CLUSTER.mac }),
        ping({ ...ends, seq: 2, dst: NODE.ipv4, ethDst: NODE.mac }),
      ]);
      const isAnswer = (seq: number) => (frame: Buffer) =>
        frame.readUInt16BE(38) === id && frame.readUInt16BE(40) === seq;
      await answers.seen('the answer to the last', isAnswer(2));
      return answers.frames.some(isAnswer(1));
    };
    await waitFor('frames arrive', arrives);
    await at.node.ip('link set br0 type bridge mcast_querier 1');
    await waitFor('none arrives', async () => !(await arrives()));
    const [[found, command] = []] = await warnings(options, 'bridge');
    assert.match(found!, /^br0 snoops: /);
    await at.node.run('sh', ['-ec', command!]);
    await waitFor('frames arrive', arrives);
    assert.deepEqual(await warnings(options, 'bridge'), []);
  });

  test('warns of an interface above one that is named, by which packets enter undecided', async () => {
    await using at = await wire();
    const above = { mac: '02:00:00:00:00:99', ipv4: '10.1.0.20' };
    await at.node.ip(
      `link add upper link eth0 address ${above.mac} type macvlan mode bridge`,
      'link set upper up',
      `address add ${above.ipv4}/24 dev upper`,
    );
    const options = owningAll(at.node);
    await using engine = await open(options);
    await using seen = await capture(at.sender, 'eth0', 'icmp');
    await inject(at.sender, 'eth0', [
      ping({ src: '10.9.0.1', dst: above.ipv4, ethDst: above.mac }),
    ]);
    await seen.seen('an answer', (frame) => frame.subarray(30, 34).equals(bytes('10.9.0.1')));
    assert.equal(engine.stats().received, 0);
    const [[found] = []] = await warnings(options, 'interface');
    assert.equal(
      found,
      'upper is on top of eth0: packets for it arrive on upper, and are not decided',
    );
    assert.deepEqual(
      await warnings({ ...options, interfaces: ['eth0', 'upper'] }, 'interface'),
      [],
    );
  });

  test('tells that packets are not decided on a macvlan of a bridge that shows them to rules', async (t) => {
    await using at = await wire();
    const { node, sender } = at;
    await node.ip(
      'link add br0 type bridge forward_delay 0',
      'link set br0 up',
      'link set eth0 master br0',
      `link add upper link br0 address 02:00:00:00:00:99 type macvlan mode bridge`,
      'link set upper up',
      'address add 10.1.0.20/24 dev upper',
    );
    const kernel = await node.run('sh', ['-c', 'ls /proc/sys/net/bridge 2>&1 || true']);
    if (!kernel.includes('bridge-nf-call-iptables')) return t.skip('needs br_netfilter');
    await node.sysctl({ 'bridge/bridge-nf-call-iptables': 1 });
    const options = owningAll(node, { interfaces: ['upper'] });
    await using engine = await open(options);
    await using seen = await capture(sender, 'eth0', 'icmp');
    const frame = (src: string): Buffer =>
      ping({ src, dst: '10.1.0.20', ethDst: '02:00:00:00:00:99' });
    const answered = (src: string): Promise<void> =>
      seen.seen('an answer', (reply) => reply.subarray(30, 34).equals(bytes(src)));
    await inject(sender, 'eth0', [frame('10.9.0.1')]);
    await answered('10.9.0.1');
    assert.equal(engine.stats().received, 0);
    const errors = async (): Promise<Finding[]> =>
      (await doctor(options)).findings.filter(
        ({ check, level }) => check === 'bridge' && level === 'error',
      );
    const [finding] = await errors();
    assert.equal(
      finding?.found,
      'What enters upper is not decided: rules see it on br0, and only there',
    );
    await node.run('sh', ['-ec', finding.command!]);
    assert.deepEqual(await errors(), []);
    await inject(sender, 'eth0', [frame('10.9.0.2')]);
    await answered('10.9.0.2');
    assert.equal(engine.stats().owned, 1);
  });

  test('tells that nothing of other machines enters by lo, where the cluster address may stand', async () => {
    await using at = await wire();
    const options = owningAll(at.node, { interfaces: ['lo'] });
    await at.node.ip('address add 10.1.0.30/32 dev lo');
    await using engine = await open(options);
    await using seen = await capture(at.sender, 'eth0', 'icmp');
    await inject(at.sender, 'eth0', [
      ping({ src: '10.9.0.1', dst: '10.1.0.30', ethDst: NODE.mac }),
    ]);
    await seen.seen('an answer', (frame) => frame.subarray(30, 34).equals(bytes('10.9.0.1')));
    assert.equal(engine.stats().received, 0);
    const { healthy, findings } = await doctor(options);
    assert.equal(healthy, false);
    assert.ok(
      findings.some(({ found }) => found === 'Nothing that other machines send arrives on lo'),
    );
  });
});
