/* Several engines, and those that cannot be opened. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { constants } from 'node:os';
import { describe, test } from 'node:test';
import { NfqClusterError, open, type Engine } from '../../src/index.js';
import { Namespace } from '../../src/lab/namespaces.js';
import { hiddenFromOthers, NOBODY } from '../support/capabilities.js';
import { boundQueues, child, quiet, skip } from './lab.js';

/** Another process that listens on queue 0 of its namespace. */
const HOLDER = `import('./src/index.ts').then(({ open }) =>
  open({ interfaces: ['lo'], hashSeed: 0, totalNodes: 1, localNode: 1 })).then(() => console.log('open'))`;

const INVALID = { name: 'NfqClusterError', code: 'ERR_INVALID_OPTION' };

describe('several engines', { skip }, () => {
  test('of one process live side by side', async () => {
    await using first = await Namespace.create();
    await using second = await Namespace.create();
    const opened = await Promise.all([
      open(quiet(first.path, 0)),
      open(quiet(first.path, 1)),
      open({ ...quiet(second.path, 0), totalNodes: 5, localNode: 5 }),
    ]);
    await using one = opened[0];
    await using two = opened[1];
    await using three = opened[2];
    await one.close();
    assert.deepEqual([await boundQueues(first), await boundQueues(second)], [[1], [0]]);
    await three.setOwnership({ nodes: [4] });
    assert.deepEqual(
      [one, two, three].map(({ ownership }) => ownership.buckets),
      [[0], [0], [3]],
    );
    await Promise.all([two.close(), three.close()]);
    assert.deepEqual([await boundQueues(first), await boundQueues(second)], [[], []]);
  });

  test('one after the other use one queue', async () => {
    await using namespace = await Namespace.create();
    for (let round = 0; round < 20; round += 1) await (await open(quiet(namespace.path))).close();
  });
});

/** That an engine cannot be opened, for this reason and with this to do about it. */
async function refused(
  opening: Promise<Engine>,
  code: string,
  message: RegExp,
  errno?: number,
): Promise<void> {
  await assert.rejects(opening, (error: unknown) => {
    assert.ok(error instanceof NfqClusterError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    assert.ok(error.remedy !== undefined && error.message.endsWith(error.remedy));
    assert.equal(error.errno, errno);
    assert.equal(error.syscall !== undefined, errno !== undefined);
    return true;
  });
}

describe('an engine that cannot be opened', { skip }, () => {
  test('since its queue is taken, in this process', async () => {
    await using namespace = await Namespace.create();
    await using engine = await open(quiet(namespace.path, 7));
    await refused(open(quiet(namespace.path, 7)), 'ERR_QUEUE_TAKEN', /^Queue 7 is taken\./, 1);
    await engine.setOwnership({ nodes: [1] });
    assert.deepEqual(await boundQueues(namespace), [7]);
  });

  test('since its queue is taken, by another process', async () => {
    await using namespace = await Namespace.create();
    const holder = namespace.spawn(process.execPath, ['--import', 'tsx', '-e', HOLDER], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(holder.stdout!, 'data');
    await refused(open(quiet(namespace.path)), 'ERR_QUEUE_TAKEN', /^Queue 0 is taken\./, 1);
  });

  test('leaves none of its queues bound, though only the last is taken', async () => {
    await using namespace = await Namespace.create();
    await using engine = await open(quiet(namespace.path, 2));
    assert.ok(engine);
    const three = open({ ...quiet(namespace.path), queues: [0, 1, 2] });
    await refused(three, 'ERR_QUEUE_TAKEN', /^Queue 2 is taken/, 1);
    assert.deepEqual(await boundQueues(namespace), [2]);
  });

  test('since there is no such interface', async () => {
    await using namespace = await Namespace.create();
    const options = { ...quiet(namespace.path), interfaces: ['lo', 'eth99'] };
    await refused(open(options), 'ERR_NO_INTERFACE', /^No interface eth99\./, 19);
    assert.deepEqual(await boundQueues(namespace), []);
  });

  test('since there is no such network namespace', async () => {
    const name = `nfqc-${randomUUID()}`;
    await refused(
      open(quiet(name)),
      'ERR_NO_NETNS',
      new RegExp(`^Cannot open the network namespace /run/netns/${name}`),
      2,
    );
    await refused(
      open(quiet('/etc/hostname')),
      'ERR_NO_NETNS',
      /^Cannot enter the network namespace/,
      22,
    );
    await refused(
      open(quiet('/proc/self/ns/uts')),
      'ERR_NO_NETNS',
      /^Cannot enter the network namespace/,
      22,
    );
  });

  test('since no thread can be started', { skip: hiddenFromOthers() }, async () => {
    // For root there is no limit.
    const { stdout, stderr } = await child('threadless-child.ts', [], { wrapper: NOBODY });
    const told = `true ERR_SYSTEM ${constants.errno.EAGAIN} clone\nNot known: Cannot start a thread. Let it `;
    assert.deepEqual([stdout.slice(0, told.length), stderr], [told, '']);
  });

  test('since there is not enough memory', async () => {
    const { status, stdout, stderr } = await child('memoryless-child.ts', []);
    const told = 'true ERR_SYSTEM Not enough memory. Let the process have more memory';
    assert.deepEqual([status, stdout.slice(0, told.length), stderr], [0, told, '']);
  });

  test('since an option is wrong, before anything is done', async () => {
    await using namespace = await Namespace.create();
    await assert.rejects(open({ ...quiet(namespace.path), localNode: 3 }), INVALID);
    await assert.rejects(open(undefined as never), INVALID);
    assert.deepEqual(await boundQueues(namespace), []);
  });
});

describe('without privilege', { skip }, () => {
  const PLAIN = ['setpriv', '--bounding-set=-all', '--inh-caps=-all'];

  test('a queue cannot be bound, and nothing is changed', async () => {
    await using namespace = await Namespace.create();
    const rules = await namespace.run('nft', ['list', 'ruleset']);
    for (const kind of ['none', 'auto']) {
      const wrapper = ['nsenter', `--net=${namespace.path}`, ...PLAIN];
      const { status, stdout, stderr } = await child('open-child.ts', ['', kind], { wrapper });
      assert.deepEqual([status, stderr], [0, '']);
      const error = JSON.parse(stdout) as NfqClusterError;
      assert.equal(error.code, 'ERR_PRIVILEGE');
      assert.match(error.remedy!, /root/);
    }
    assert.equal(await namespace.run('nft', ['list', 'ruleset']), rules);
    assert.deepEqual(await boundQueues(namespace), []);
  });

  test('a network namespace cannot be entered', async () => {
    await using namespace = await Namespace.create();
    const { stdout } = await child('open-child.ts', [namespace.path, 'none'], { wrapper: PLAIN });
    const error = JSON.parse(stdout) as NfqClusterError;
    assert.equal(error.code, 'ERR_PRIVILEGE');
    assert.match(error.remedy!, /CAP_SYS_ADMIN/);
    assert.deepEqual(await boundQueues(namespace), []);
  });
});
