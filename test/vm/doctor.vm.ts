/* Doctor on a kernel that has what many do not: nft's queue, flows in messages, flowtables, CLUSTERIP. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { diagnosis, doctorLab } from '../support/doctor.js';

test('of a healthy node whose nft queues, and that tells flows', async () => {
  await using at = await doctorLab();
  const { status, errors, findings } = await diagnosis(at);
  assert.deepEqual([status, errors], [0, []]);
  const found = (check: string): string =>
    findings
      .filter((finding) => finding.check === check)
      .map((finding) => `${finding.level} ${finding.found}`)
      .join();
  assert.equal(found('queue rule'), "ok nft's queue statement");
  assert.equal(found('conntrack glue'), 'ok The kernel attaches the connection to a queued packet');
  assert.equal(found('setup'), 'ok The rules of q0 are in place, as these options make them');
});

test('of rules by other hands: each is named, and the commands printed mend them', async () => {
  await using at = await doctorLab();
  await at.node.run('sh', ['-es'], FAULTS);
  const broken = await diagnosis(at);
  assert.deepEqual(broken.errors.map(({ check }) => check).sort(), [
    '-j CLUSTERIP',
    'bypass',
    'flowtable',
    'queue users',
  ]);
  for (const { command } of broken.errors) await at.node.run('sh', ['-ec', command ?? 'true']);
  const rest = await diagnosis(at);
  assert.deepEqual(
    rest.errors.map(({ found }) => found),
    ['The flowtable inet other fast takes flows of eth0'],
  );
});

const FAULTS = `
nft -f - <<END
table inet other {
  flowtable fast { hook ingress priority 0; devices = { eth0 }; }
  chain late {
    type filter hook forward priority 0;
    udp dport 1 queue flags bypass to 0
    udp dport 2 queue num 0-3
    udp dport 3 flow add @fast
  }
}
END
iptables-legacy -A INPUT -d 10.1.0.77 -i eth0 -j CLUSTERIP --new --hashmode sourceip \\
  --clustermac 01:00:5e:00:00:77 --total-nodes 2 --local-node 1
`;
