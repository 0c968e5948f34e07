/* Doctor asks the engine itself what it decides by, which no rule tells. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { doctor, open, type Finding, type Options } from '../../src/index.js';
import { hiddenFromOthers, NET_ADMIN_ALONE } from '../support/capabilities.js';
import { diagnosis, SETUP } from '../support/doctor.js';
import { cli, waitFor, type Cli } from '../support/processes.js';
import { owningAll, wire, type Wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';

const OTHER_SEED = [...SETUP, '--cluster-hash-seed', '0xdeadbeef'];

/** A running engine, which takes its socket away with it in the end. */
async function engine({ node }: Wire, ...more: string[]): Promise<Cli & AsyncDisposable> {
  const running = cli(['run', ...SETUP, '--json', ...more], { namespace: node });
  await running.event('ready');
  return {
    ...running,
    async [Symbol.asyncDispose]() {
      running.child.kill('SIGCONT');
      running.child.kill('SIGINT');
      await running.outcome;
    },
  };
}

/** What the check `engine` says, and no other check may say that anything is wrong. */
async function said(at: Wire, args = SETUP, wrapper: readonly string[] = []): Promise<Finding[]> {
  const { status, findings, errors } = await diagnosis(at, args, wrapper);
  assert.equal(status, errors.length === 0 ? 0 : 1);
  assert.deepEqual(
    errors.filter(({ check }) => check !== 'engine'),
    [],
  );
  return findings.filter(({ check }) => check === 'engine');
}

/** Options of all kinds. */
const KINDS: Record<string, Partial<Options>> = {
  'fine-grained buckets': { buckets: 1023, ownership: { buckets: [0], validFor: 60_000 } },
  'a mark': { action: 'mark', marks: { owned: { value: 0x10, mask: 0xf0 } } },
  'policy clusterip': { policy: 'clusterip', hashMode: 'sourceip-sourceport' },
  'offload, and conntrack by name': { offload: ['sources', 'flows'], conntrack: 'netlink' },
  'a stateless gateway': { interfaces: ['eth0', { name: 'lo', key: 'destination' }] },
  'several queues': { queues: [3, 2], policy: 'xt_cluster', name: 'of-its-own' },
};

const levels = (findings: Finding[]): string[] =>
  findings.map(({ level, found }) => `${level} ${found}`);

describe('doctor', { skip }, () => {
  test('sees that the engine hashes by another seed', async () => {
    await using at = await wire();
    await using _engine = await engine(at);
    const fine = 'ok The engine of q0 decides as these options say';
    assert.deepEqual(levels(await said(at)), [fine]);
    const [wrong, ...more] = await said(at, OTHER_SEED);
    assert.deepEqual(more, []);
    assert.deepEqual(levels([wrong!]), [
      'error The engine of q0 has hash seed 0x0; these options say hash seed 0xdeadbeef',
    ]);
    assert.match(wrong!.remedy!, /own none/);

    // What it owns moves while it runs, and is not compared.
    const own = async (...change: string[]): Promise<void> => {
      const { status, stderr } = await cli(['own', ...change], { namespace: at.node }).outcome;
      assert.equal(status, 0, stderr);
    };
    await own('none');
    assert.deepEqual(levels(await said(at)), [fine]);
    await own('1', '--valid-for', '1');
    await waitFor('the deadline', async () => (await said(at)).length === 2);
    assert.deepEqual(levels(await said(at)), [
      fine,
      'warning The time of what the engine of q0 owned is over: it owns nothing',
    ]);
    assert.deepEqual(
      (await said(at, [])).map(({ level }) => level),
      ['skipped', 'warning'],
    );
  });

  for (const [kind, more] of Object.entries(KINDS)) {
    test(`finds an engine with ${kind} as its options say`, async () => {
      await using at = await wire();
      const options = owningAll(at.node, { control: 'auto', ...more });
      if (more.buckets !== undefined) {
        delete options.totalNodes;
        delete options.localNode;
      }
      await using engine = await open(options);
      const { findings } = await doctor(options);
      assert.deepEqual(levels(findings.filter(({ check }) => check === 'engine')), [
        `ok The engine of ${engine.options.name} decides as these options say`,
      ]);
    });
  }

  test('finds the engine by the socket that the options name', async (t) => {
    await using at = await wire();
    const directory = await mkdtemp(path.join(os.tmpdir(), 'nfq-cluster-test-'));
    t.after(() => rm(directory, { recursive: true }));
    const control = ['--control', path.join(directory, 'e.sock')];
    await using _engine = await engine(at, ...control);
    assert.match(levels(await said(at)).join(), /^skipped .* control socket \/run\//);
    assert.match(levels(await said(at, [...SETUP, ...control])).join(), /^ok /);
    assert.match(levels(await said(at, [...OTHER_SEED, ...control])).join(), /^error /);
  });

  test('does not wait for an engine that is stopped, and has it go on', async () => {
    await using at = await wire();
    await using running = await engine(at);
    running.child.kill('SIGSTOP');
    const began = Date.now();
    const { status, findings, errors } = await diagnosis(at);
    assert.ok(Date.now() - began < 20_000);
    const [stopped, ...more] = errors;
    assert.deepEqual([status, stopped?.check, more], [1, 'queue listener', []]);
    assert.match(stopped!.found, /^The engine that listens on queue 0 is stopped: /);
    const asked = levels(findings.filter(({ check }) => check === 'engine'));
    assert.match(asked.join(), /^skipped The engine does not answer on /);
    await at.node.run('sh', ['-ec', stopped!.command!]);
    assert.match(levels(await said(at)).join(), /^ok /);
  });

  test('says where it may not ask', { skip: hiddenFromOthers() }, async () => {
    await using at = await wire();
    await using _running = await engine(at);
    assert.match(
      levels(await said(at, SETUP, NET_ADMIN_ALONE)).join(),
      /^skipped This process may not use /,
    );
  });
});
