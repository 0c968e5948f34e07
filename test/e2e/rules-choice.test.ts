import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { chooseMechanism, reinjectOf } from '../../src/setup/probe.js';
import { install } from '../../src/setup/setup.js';
import { openFolder } from '../support/capabilities.js';
import { root } from '../support/processes.js';
import { mechanismsHere, options, xtables } from '../support/rules-lab.js';
import { rulesOf } from '../support/state.js';
import { wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const mechanisms = skip === false ? await mechanismsHere() : [];

describe('the choice of a mechanism', { skip }, () => {
  it('is one that the kernel can do, and changes nothing', async () => {
    await using at = await wire();
    const mechanism = await chooseMechanism(options(at, { rules: 'auto' }));
    assert.deepEqual(mechanism, mechanisms[0]![1]);
    assert.equal(reinjectOf(mechanism), mechanism.kind === 'xtables' ? 'repeat' : 'accept');
    assert.equal(await rulesOf(at.node), '');
  });

  it('can be forced to xtables', async () => {
    await using at = await wire();
    const mechanism = await chooseMechanism(options(at, { rules: 'xtables', queues: [1, 2] }));
    assert.deepEqual(mechanism, xtables('nft'));
  });

  it("follows the user's legacy rules", async () => {
    await using at = await wire();
    const rule = ['-t', 'mangle', '-A', 'PREROUTING', '-j', 'ACCEPT'];
    await at.node.run('iptables-legacy', rule);
    assert.deepEqual(await chooseMechanism(options(at, { rules: 'xtables' })), xtables('legacy'));
  });

  it(
    'fails by name where nft cannot queue but must',
    { skip: mechanisms.some(([title]) => title === 'nft') },
    async () => {
      await using at = await wire();
      await assert.rejects(chooseMechanism(options(at, { rules: 'nft' })), {
        code: 'ERR_NO_NFQUEUE',
      });
    },
  );

  it('fails by name where there is no such namespace', async () => {
    await using at = await wire();
    for (const netns of ['none-of-that-name', '/proc/self/status']) {
      await assert.rejects(chooseMechanism(options(at, { netns })), { code: 'ERR_NO_NETNS' });
    }
  });

  it('fails by name without privilege', async () => {
    await using at = await wire();
    for (const rules of ['auto', 'xtables']) {
      assert.equal(
        inChild(['setpriv', '--bounding-set', '-net_admin,-sys_admin'], { rules }),
        'ERR_PRIVILEGE',
      );
      assert.equal(
        inChild(['setpriv', '--bounding-set', '-net_admin,-sys_admin'], {
          rules,
          netns: at.node.path,
        }),
        'ERR_PRIVILEGE',
      );
    }
  });

  it('fails by name without privilege where nft says nothing, as 1.0.2', async () => {
    await using folder = await openFolder();
    await writeFile(path.join(folder.path, 'nft'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
    const PATH = `PATH=${folder.path}:${process.env['PATH']}`;
    const wrapper = ['setpriv', '--bounding-set', '-net_admin', 'env', PATH];
    assert.equal(inChild(wrapper, { rules: 'auto' }), 'ERR_PRIVILEGE');
    assert.equal(inChild(wrapper.slice(3), { rules: 'auto' }), 'ERR_RULES');
  });

  it('and installing work for root inside a user namespace', () => {
    assert.equal(
      inChild(['unshare', '--user', '--map-root-user', '--net'], { rules: 'auto' }),
      'installed, removed',
    );
  });

  it('fails by name without the programs', () => {
    const without = (programs: string): string[] => [
      'unshare',
      '--net',
      '--mount',
      'sh',
      '-c',
      `for program in ${programs}; do
        if path=$(command -v $program); then mount --bind /dev/null "$path"; fi
      done; exec "$@"`,
      'sh',
    ];
    assert.equal(inChild(without('nft'), { rules: 'auto' }), 'ERR_NO_TOOL');
    const iptables = without('iptables-nft-restore iptables-legacy-restore iptables-restore');
    assert.equal(inChild(iptables, { rules: 'xtables' }), 'ERR_NO_TOOL');
  });

  it('refuses an interface name that means more in a rule', async () => {
    await using at = await wire();
    for (const name of ['wir+', 'wir*', '!wire', '-i', 'a;b', 'a\\b', 'a{b', '$x', 'a,b}']) {
      await assert.rejects(install(options(at, { interfaces: [name] }), mechanisms[0]![1]), {
        code: 'ERR_INVALID_OPTION',
      });
      assert.equal(await rulesOf(at.node), '');
    }
  });
});

/** Chooses, installs and removes in a child process, and gives the code of the error or "installed, removed". */
function inChild(wrapper: readonly string[], more: object): string {
  const script = path.join(root, 'test/support/rules-child.ts');
  const [program, ...args] = [
    ...wrapper,
    process.execPath,
    '--import',
    'tsx',
    script,
    JSON.stringify(more),
  ];
  const child = spawnSync(program, args, { encoding: 'utf8' });
  assert.equal(child.status, 0, child.stderr);
  return child.stdout.trim();
}
