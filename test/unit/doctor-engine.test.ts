/* What doctor says of a running engine, and of one that does not answer. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { ControlServer } from '../../src/control/server.js';
import { readEngine, type Answer, type Told } from '../../src/doctor/engine.js';
import { diagnose, type Finding } from '../../src/doctor/index.js';
import type { Options } from '../../src/options/types.js';
import { resolveOptions } from '../../src/options/resolve.js';
import { HEALTHY, OPTIONS, TOLD, named, wrong } from './diagnosed.js';

/** What is wrong with an engine that tells this, where these are the options. */
function ofEngine(told: Partial<Told>, options: Partial<Options> = {}): Finding[] {
  const answer = { known: { ...TOLD, ...told } };
  const resolved = resolveOptions({ ...OPTIONS, ...options }, 'auto');
  return wrong({ engines: { known: [{ name: 'q0', answer, options: resolved }] } });
}

/** What the engine has, and what the options say. */
const differences = (told: Partial<Told>, options?: Partial<Options>): string[] =>
  ofEngine(told, options).map(({ found }) => found.replace(/^The engine of q0 has /, ''));

const on = (name: string, key: 'source' | 'destination' = 'source') =>
  resolveOptions({ ...OPTIONS, interfaces: [{ name, key }] }).interfaces;

const CLUSTERIP = { policy: 'clusterip', hashMode: 'sourceip', strict: false } as const;

describe('doctor, of the engine', () => {
  it('says that it decides as the options say', () => {
    const { findings } = diagnose(HEALTHY);
    assert.deepEqual(
      findings.filter(({ check }) => check === 'engine'),
      [{ check: 'engine', level: 'ok', found: 'The engine of q0 decides as these options say' }],
    );
  });

  it('finds another seed, and says that all nodes must stop owning before it changes', () => {
    const [finding, ...more] = ofEngine({ hashSeed: 1 });
    assert.deepEqual(more, []);
    const { level, check, found, remedy } = finding!;
    assert.deepEqual([level, check], ['error', 'engine']);
    assert.equal(
      found,
      'The engine of q0 has hash seed 0x1; these options say hash seed 0xdeadbeef',
    );
    assert.match(remedy!, /"nfq-cluster own none" on every node, then restart/);
  });

  it('finds whatever else makes it hash otherwise', () => {
    assert.deepEqual(differences({ policy: 'xt_cluster' }), [
      'policy xt_cluster; these options say policy jhash',
    ]);
    assert.deepEqual(differences({ buckets: 3 }), ['3 buckets; these options say 2 buckets']);
    const mode = 'sourceip-sourceport' as const;
    assert.deepEqual(differences({ ...CLUSTERIP, hashMode: mode }, CLUSTERIP), [
      'hash mode sourceip-sourceport; these options say hash mode sourceip',
    ]);
    assert.deepEqual(differences({ ...CLUSTERIP, strict: true }, CLUSTERIP), [
      'strict true; these options say strict false',
    ]);
    assert.deepEqual(differences(CLUSTERIP), ['policy clusterip; these options say policy jhash']);
    const inside = { interfaces: on('eth0', 'destination'), conntrack: { source: 'off', why: '' } };
    assert.deepEqual(differences({ ...inside } as Partial<Told>, { conntrack: 'queue' }), [
      'key destination on eth0; these options say no key destination',
    ]);
  });

  it('finds what else it does otherwise, and does not ask for all nodes', () => {
    const [finding] = ofEngine({ queues: [0] });
    assert.equal(finding!.found, 'The engine of q0 has queues 0; these options say queues 0, 1');
    assert.doesNotMatch(finding!.remedy!, /every node/);
    assert.deepEqual(differences({ action: 'mark' }), [
      'action mark; these options say action drop',
    ]);
    assert.deepEqual(differences({ name: 'q1' }), ['name q1; these options say name q0']);
    assert.deepEqual(differences({ offload: ['sources', 'flows'] }), [
      'offload flows, sources; these options say no offload',
    ]);
    assert.deepEqual(differences({ interfaces: [...on('eth1'), ...on('eth0')] }), [
      'interfaces eth0, eth1; these options say interfaces eth0',
    ]);
  });

  it('compares marks only where they are set, and conntrack only where it is named', () => {
    const ownedMark = { value: 1, mask: 0xff };
    assert.deepEqual(differences({ ownedMark }), []);
    assert.deepEqual(differences({ ownedMark, action: 'mark' }, { action: 'mark' }), [
      'mark 0x1/0xff; these options say mark 0xffff/0xffff',
    ]);
    const conntrack = { source: 'netlink', why: '' } as const;
    assert.deepEqual(differences({ conntrack }), []);
    assert.deepEqual(differences({ conntrack }, { conntrack: 'queue' }), [
      'conntrack netlink; these options say conntrack queue',
    ]);
  });

  it('does not mind the order, nor fine-grained buckets of the same number', () => {
    const interfaces = [...on('eth1'), ...on('eth0')];
    const options = { interfaces: ['eth0', 'eth1'], offload: ['flows', 'sources'] } as const;
    assert.deepEqual(differences({ interfaces, offload: ['sources', 'flows'] }, options), []);
    const { totalNodes: _nodes, localNode: _node, ...rest } = OPTIONS;
    const fine = resolveOptions({ ...rest, buckets: 2, ownership: { buckets: [1] } });
    const known = [{ name: 'q0', answer: { known: TOLD }, options: fine }];
    assert.deepEqual(wrong({ engines: { known } }), []);
  });

  it('warns where its time is over, also if no options are given', () => {
    assert.deepEqual(named(ofEngine({ validFor: 0 })), ['warning engine']);
    assert.deepEqual(ofEngine({ validFor: 5 }), []);
    const standing = (validFor: number | null): string[] => {
      const answer = { known: { ...TOLD, validFor } };
      return named(wrong({ engines: { known: [{ name: 'q0', answer, options: undefined }] } }));
    };
    assert.deepEqual(standing(null), ['skipped engine']);
    assert.deepEqual(standing(0), ['skipped engine', 'warning engine']);
  });

  it('is skipped where it does not answer', () => {
    const answer = { unknown: 'There is no control socket', remedy: 'Give its path' };
    assert.deepEqual(wrong({ engines: { known: [{ name: 'q0', answer, options: undefined }] } }), [
      {
        check: 'engine',
        level: 'skipped',
        found: 'There is no control socket',
        remedy: 'Give its path',
      },
    ]);
  });
});

describe('what doctor asks of an engine', () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'nfq-cluster-test-'));
  });
  after(async () => {
    await rm(directory, { recursive: true });
  });

  const asked = (file: string): Promise<Answer> =>
    readEngine({ name: 'q0', netns: undefined, control: path.join(directory, file) });

  const reason = async (file: string): Promise<string> => {
    const answer = await asked(file);
    return 'unknown' in answer ? answer.unknown : 'an answer';
  };

  /** What is read from a server that answers so. */
  async function answered(result: object): Promise<Answer> {
    const server = await ControlServer.listen(path.join(directory, 'e.sock'), () =>
      Promise.resolve(result),
    );
    try {
      return await asked('e.sock');
    } finally {
      await server.close();
    }
  }

  it('is its status, whatever else stands there', async () => {
    const status = { ...TOLD, further: 1 };
    const answer: unknown = await answered(status);
    assert.deepEqual(answer, { known: JSON.parse(JSON.stringify(status)) as unknown });
  });

  it('is refused of another version', async () => {
    const { hashSeed: _seed, ...older } = TOLD;
    const answer = await answered(older);
    assert.match('unknown' in answer ? answer.unknown : '', /is not an engine of this version$/);
  });

  it('tells why there is no answer', async () => {
    assert.match(await reason('absent.sock'), /^There is no control socket .*absent\.sock$/);
    await writeFile(path.join(directory, 'dead.sock'), '');
    assert.match(await reason('dead.sock'), /^Nobody listens on .*dead\.sock$/);
    const netns = '/run/netns/nfq-cluster-absent';
    const nowhere = await readEngine({ name: 'q0', netns, control: 'auto' });
    assert.match('unknown' in nowhere ? nowhere.unknown : '', /^No network namespace/);
  });

  it('does not wait long for an engine that is stopped', async () => {
    const taken: net.Socket[] = [];
    const silent = net.createServer((socket) => taken.push(socket));
    await new Promise<void>((resolve) =>
      silent.listen(path.join(directory, 'silent.sock'), resolve),
    );
    const began = Date.now();
    assert.match(await reason('silent.sock'), /does not answer on .*: no answer within 2000 ms$/);
    assert.ok(Date.now() - began < 5000);
    for (const socket of taken) socket.destroy();
    silent.close();
  });
});
