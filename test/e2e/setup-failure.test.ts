/* What a setup leaves where a step of it fails: programs that stand in for nft and ip fail one call. */
import assert from 'node:assert/strict';
import { chmod, writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { apply, doctor, open, revert, status, type Rules } from '../../src/index.js';
import { resolveOptions } from '../../src/options/resolve.js';
import { findProgram } from '../../src/setup/exec.js';
import { install } from '../../src/setup/setup.js';
import { chooseMechanism } from '../../src/setup/probe.js';
import { openFolder } from '../support/capabilities.js';
import { cli, root, type Cli, type Outcome } from '../support/processes.js';
import { stateOf } from '../support/state.js';
import { CLUSTER, clusterOptions, wire, type Wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

const SHARED = {
  interfaces: [{ name: 'eth0', mac: CLUSTER.mac, addresses: [`${CLUSTER.ipv4}/24`] }],
  totalNodes: 2,
  hashSeed: 1,
};

/**
 * Runs nfq-cluster, with a configuration if one is given, and a program that fails where a shell pattern fits its
 * arguments and input; how, the shell is told.
 * @param meanwhile what is done while it runs
 */
async function failing(
  { node }: Wire,
  [program, pattern, how = 'exit 1']: [program: string, pattern: string, how?: string],
  command: readonly string[],
  config?: object,
  meanwhile: (running: Cli) => Promise<void> = async () => {},
): Promise<Outcome> {
  await using folder = await openFolder();
  const real = findProgram(program)!;
  const script = `#!/bin/sh
    input=; case "$*" in *-f\\ -) input=$(cat; echo .); input=\${input%.};; esac
    case "$* $input" in ${pattern}) echo injected >&2; ${how};; esac
    printf %s "$input" | ${real} "$@"`;
  await writeFile(path.join(folder.path, program), script);
  await chmod(path.join(folder.path, program), 0o755);
  const file = path.join(folder.path, 'config.json');
  await writeFile(file, JSON.stringify(config ?? {}));
  const env = { PATH: `${folder.path}:${process.env['PATH']!}` };
  const line = config === undefined ? command : [...command, '--config', file];
  const running = cli(line, { namespace: node, env });
  await meanwhile(running);
  return await running.outcome;
}

describe('where a step fails', { skip }, () => {
  test('an engine that does not open leaves nothing', async () => {
    await using at = await wire();
    const before = await stateOf(at.node);
    const ownership = { nodes: [1], validFor: 3_600_000 };
    const { status: exit, stderr } = await failing(
      at,
      ['nft', '*"-f - flush chain"*'],
      ['run', '--control', 'none'],
      { ...SHARED, offload: ['flows'], ownership },
    );
    assert.equal(exit, 1);
    assert.match(stderr, /change what is owned: nft: injected/);
    assert.equal(await stateOf(at.node), before);
  });

  test('nor where its rules are taken away before', async () => {
    await using at = await wire();
    const before = await stateOf(at.node);
    const { stderr } = await failing(
      at,
      ['nft', '*"-f - flush chain"*', 'nft flush ruleset; exit 1'],
      ['run', '--control', 'none'],
      { ...SHARED, localNode: 1, offload: ['flows'] },
    );
    assert.match(stderr, /change what is owned: nft: injected/);
    assert.equal(await stateOf(at.node), before);
  });

  test('a setup that is not made leaves nothing', async () => {
    await using at = await wire();
    const before = await stateOf(at.node);
    const config = { ...SHARED, localNode: 1 };
    const { stderr } = await failing(at, ['ip', '"address add"*'], ['apply'], config);
    assert.match(stderr, /add 10\.1\.0\.10\/24 to eth0: ip: injected/);
    assert.equal(await stateOf(at.node), before);
  });

  test('what cannot be taken back either is said', async () => {
    await using at = await wire();
    const before = await stateOf(at.node);
    const failures = '"address add"*|"maddress del"*';
    const config = { ...SHARED, localNode: 1 };
    const { stderr } = await failing(at, ['ip', failures], ['apply'], config);
    assert.match(stderr, /undone: .*eth0 take frames for .*"nfq-cluster revert --name q0"$/m);
    await revert({ netns: at.node.path });
    assert.equal(await stateOf(at.node), before);
  });
});

describe('an engine that closes takes all back, though its rules go', { skip }, () => {
  for (const [when, pattern, how] of [
    // It reads for two steps. What is left is what the second finds.
    [
      'while it looks',
      '*"list chain inet nfq-cluster-q0 undo"*',
      '[ ! -e $0.read ] || nft flush ruleset; : >$0.read',
    ],
    ['before it removes them', '*"delete table inet"*', 'nft flush ruleset'],
  ] as const) {
    test(when, async () => {
      await using at = await wire();
      const before = await stateOf(at.node);
      const command = ['run', '--json', '--control', 'none'];
      const config = { ...SHARED, localNode: 1 };
      const { status: exit, stderr } = await failing(
        at,
        ['nft', pattern, how],
        command,
        config,
        async (run) => {
          await run.event('ready');
          run.child.kill('SIGTERM');
        },
      );
      assert.equal(exit, 0, stderr);
      assert.equal(await stateOf(at.node), before);
    });
  }
});

describe('revert takes nothing for gone', { skip }, () => {
  for (const [what, ...failure] of [
    ['that nft fails to list', 'nft', '"-t list table inet"*'],
    ['when the program that lists it is killed', 'nft', '"-t list table inet"*', 'kill -KILL $$'],
  ] as const) {
    test(what, async () => {
      await using at = await wire();
      const before = await stateOf(at.node);
      await apply(clusterOptions(at.node));
      const standing = await stateOf(at.node);
      const { status: exit } = await failing(at, [...failure], ['revert']);
      assert.equal(exit, 1);
      assert.equal(await stateOf(at.node), standing);
      await revert({ netns: at.node.path });
      assert.equal(await stateOf(at.node), before);
    });
  }

  test('in a table that iptables-nft does not print', async (t) => {
    if (findProgram('iptables-nft-restore') === undefined) {
      t.skip('needs iptables-nft');
      return;
    }
    await using at = await wire();
    await apply(clusterOptions(at.node, { rules: 'xtables' }));
    const foreign =
      'add counter ip mangle c; add chain ip mangle c; add rule ip mangle c counter name c';
    await at.node.run('nft', [foreign]);
    const standing = await stateOf(at.node);
    await assert.rejects(revert({ netns: at.node.path }), {
      code: 'ERR_RULES',
      message: /iptables-nft-save does not print the table ip mangle/,
    });
    assert.equal(await stateOf(at.node), standing);
    const { findings } = await doctor(undefined, { netns: at.node.path });
    assert.equal(findings.find(({ check }) => check === 'iptables rules')!.level, 'skipped');
    await at.node.run('nft', ['flush chain ip mangle c']);
    await revert({ netns: at.node.path });
    assert.equal((await status({ netns: at.node.path })).rules, false);
  });
});

test('a process that can have no more files is told so, and goes on', { skip }, async () => {
  await using at = await wire();
  const before = await stateOf(at.node);
  const options = { ...SHARED, localNode: 1, offload: ['flows'], rules: 'auto' };
  const { EMFILE } = constants.errno;
  const few = ['sh', '-c', 'ulimit -n 256; exec "$@"', 'sh', process.execPath];
  const script = path.join(root, 'test/support/full-child.ts');
  const args = [...few, '--import', 'tsx', script, JSON.stringify(options)];
  assert.equal(
    await at.node.run(args[0]!, args.slice(1)),
    `ERR_SYSTEM ${EMFILE} true ERR_SYSTEM ${EMFILE} true\ndone [ 1 ]\n`,
  );
  assert.equal(await stateOf(at.node), before);
});

describe('where a step of another in its place fails', { skip }, () => {
  const OTHER = { ...SHARED, localNode: 1, queues: [5], name: 'q0' };
  for (const [what, command] of [
    ['a setup', ['apply', '--replace']],
    ["a killed engine's", ['run', '--control', 'none']],
  ] as const) {
    test(`${what} is put back`, async () => {
      await using at = await wire();
      const options = { ...clusterOptions(at.node), interfaces: [EARLIER], name: 'q0', ...FANOUT };
      if (what === 'a setup') await apply(options);
      else await install(resolveOptions(options), await chooseMechanism(resolveOptions(options)));
      const before = await stateOf(at.node);
      const { status: exit, stderr } = await failing(
        at,
        ['ip', `"address add ${CLUSTER.ipv4}"*`],
        command,
        OTHER,
      );
      assert.equal(exit, 1);
      assert.match(stderr, /to eth0: ip: injected$/m);
      assert.equal(sorted(await stateOf(at.node)), sorted(before));
    });
  }
});

test('where a step of rules of another kind fails, the former are put back', { skip }, async () => {
  await using at = await wire();
  const before = await stateOf(at.node);
  const config = { ...SHARED, localNode: 1 };
  const options = { ...config, netns: at.node.path };
  await apply(options);
  await at.node.ip(`address del ${CLUSTER.ipv4}/24 dev eth0`);
  const { status: exit, stderr } = await failing(
    at,
    ['ip', '"address add"*', 'rm "$0"; exit 1'],
    ['apply', '--replace', '--rules', 'xtables'],
    config,
  );
  assert.equal(exit, 1);
  assert.match(stderr, /to eth0: ip: injected$/m);
  const { steps } = await status({}, options);
  assert.deepEqual([...new Set(steps!.map(({ state }) => state))], ['in place']);
  await revert({ netns: at.node.path });
  assert.equal(await stateOf(at.node), before);
});

/** What else a node may share on the same wire. */
const EARLIER = { name: 'eth0', mac: '03:00:00:00:00:11', addresses: ['10.1.0.11/24'] };

/** Its options are all remembered. */
const FANOUT = { queues: [0, 1], queueCpuFanout: true };

/** Chains that were made again are listed last. */
const sorted = (state: string): string => state.split('\n').sort().join('\n');

test(
  'apply, open, status and doctor mean the same setup by the same options',
  { skip },
  async () => {
    await using at = await wire();
    // As not given.
    const rules = undefined as unknown as Rules;
    const options = { ...clusterOptions(at.node, { conntrack: 'mark' }), rules };
    await apply(options);
    const standing = await stateOf(at.node);
    await using engine = await open({ ...options, rules: 'auto' });
    assert.equal(await stateOf(at.node), standing);
    const { steps } = await status({}, options);
    assert.deepEqual([...new Set(steps!.map(({ state }) => state))], ['in place']);
    const { findings } = await doctor(options);
    assert.deepEqual(
      findings.filter(({ check, level }) => check === 'setup' && level !== 'ok'),
      [],
    );
    await engine.close();
  },
);
