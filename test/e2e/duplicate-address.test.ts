/* A cluster address that somebody else added, with duplicate address detection: every node but the first loses it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { apply, doctor, open, plan, status } from '../../src/index.js';
import { waitFor } from '../support/processes.js';
import { CLUSTER, clusterOptions, wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

test('an address that the kernel does not use is no part of a setup', { skip }, async () => {
  await using at = await wire();
  const { node, sender } = at;
  await sender.ip(`address add ${CLUSTER.ipv6}/64 dev eth0 nodad`);
  await node.sysctl({ 'ipv6/conf/eth0/accept_dad': 1 });
  await node.ip(`address add ${CLUSTER.ipv6}/128 dev eth0`);
  const state = (): Promise<string> => node.run('sh', ['-ec', 'ip address; nft list ruleset']);
  await waitFor('it is found to be a duplicate', async () => (await state()).includes('dadfailed'));
  const before = await state();
  const options = clusterOptions(node);
  const refused = { code: 'ERR_CONFLICT', message: /eth0 has fd01::10\/128, but does not use it/ };
  for (const attempt of [plan, apply, open]) await assert.rejects(attempt(options), refused);
  assert.equal(await state(), before);

  const judged = async (): Promise<(string | undefined)[][]> =>
    (await doctor(options)).findings
      .filter(({ check, found }) => check === 'address' && found.includes(CLUSTER.ipv6))
      .map(({ level, command }) => [level, command]);
  const [[level, command] = []] = await judged();
  assert.equal(level, 'error');
  await node.run('sh', ['-ec', command!]);
  await apply(options);
  assert.deepEqual(await judged(), [['ok', undefined]]);
  const { steps } = await status({}, options);
  assert.deepEqual([...new Set(steps!.map(({ state }) => state))], ['in place']);
});

test('status tells that it is missing', { skip }, async () => {
  await using at = await wire();
  const { node, sender } = at;
  const options = clusterOptions(node);
  await apply(options);
  await sender.ip(`address add ${CLUSTER.ipv6}/64 dev eth0 nodad`);
  await node.sysctl({ 'ipv6/conf/eth0/accept_dad': 1 });
  const address = (what: string): string => `address ${what} ${CLUSTER.ipv6}/64 dev eth0`;
  await node.ip(address('delete'), address('add'));
  const missing = async (): Promise<string[]> =>
    (await status({}, options)).steps!.flatMap(({ what, state }) =>
      state === 'missing' ? [what] : [],
    );
  await waitFor('it is missing', async () => (await missing()).length > 0);
  assert.deepEqual(await missing(), [`add ${CLUSTER.ipv6}/64 to eth0`]);
});
