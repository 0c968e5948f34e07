/* The control socket without an engine behind it: changes in words, and clients of every kind. */
import assert from 'node:assert/strict';
import cluster from 'node:cluster';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { owned } from '../../src/cli/control.js';
import { changed, listed } from '../../src/control/change.js';
import { Control } from '../../src/control/client.js';
import type { Request } from '../../src/control/protocol.js';
import { ControlServer } from '../../src/control/server.js';
import { NfqClusterError } from '../../src/errors.js';
import { root } from '../support/processes.js';
import { leaveStale } from '../support/stale-socket.js';

const FOUR = { classic: true, buckets: 4 };
const FINE = { classic: false, buckets: 1023 };
const owning = (...buckets: number[]) => ({ buckets, validFor: Infinity });
const code = (expected: string) => (error: unknown) =>
  error instanceof NfqClusterError && error.code === expected;

describe('a change of ownership in words', () => {
  it('adds and removes nodes, from 1', () => {
    assert.deepEqual(changed('+2', owning(0, 2), FOUR), { nodes: [1, 3, 2], validFor: Infinity });
    assert.deepEqual(changed('-3', owning(0, 2), FOUR), { nodes: [1], validFor: Infinity });
    assert.deepEqual(changed('-1', owning(0), FOUR), { nodes: [], validFor: Infinity });
  });

  it('replaces all', () => {
    assert.deepEqual(changed('1,3', owning(1), FOUR), { nodes: [1, 3] });
    assert.deepEqual(changed('none', owning(1), FOUR), { nodes: [] });
    assert.deepEqual(changed('2-4', owning(), FOUR, 500), { nodes: [2, 3, 4], validFor: 500 });
  });

  it('has buckets, from 0, where buckets are fine-grained', () => {
    assert.deepEqual(changed('+0,1021-1022', owning(5), FINE), {
      buckets: [5, 0, 1021, 1022],
      validFor: Infinity,
    });
  });

  it('keeps the deadline, and does not revive what is over', () => {
    assert.deepEqual(changed('+2', { buckets: [0], validFor: 12.5 }, FOUR), {
      nodes: [1, 2],
      validFor: 12.5,
    });
    const over = { buckets: [0], validFor: 0 };
    // Node 1 is owned no more, whatever was.
    for (const change of ['+2', '+1', '-1', '-2'])
      assert.throws(() => changed(change, over, FOUR), code('ERR_EXPIRED'));
    assert.deepEqual(changed('1', over, FOUR), { nodes: [1] });
    assert.throws(() => changed('+2', owning(0), FOUR, 500), code('ERR_INVALID_OPTION'));
  });

  it('is an error where the original says ENOMEM or ENOENT for a node within the total', () => {
    assert.throws(() => changed('+1', owning(0), FOUR), code('ERR_ALREADY_OWNED'));
    assert.throws(() => changed('+2,1', owning(0), FOUR), code('ERR_ALREADY_OWNED'));
    assert.throws(() => changed('-2', owning(0), FOUR), code('ERR_NOT_OWNED'));
  });

  it('is refused where it is no change, or out of range', () => {
    const bad = [
      '+0',
      '-0',
      '+5',
      '-5',
      '0',
      '5',
      '',
      '+',
      '-',
      '2+',
      '+ 2',
      '1,',
      ',1',
      '1,,2',
      '3-2',
      '1,3-2',
      '+4,3-2',
    ];
    for (const change of [...bad, '1,1', 'all', '0x1', '+1-99999', '1-2-3', '２', 2, undefined]) {
      assert.throws(() => changed(change, owning(), FOUR), code('ERR_INVALID_OPTION'), `${change}`);
    }
    assert.throws(() => changed('1023', owning(), FINE), code('ERR_INVALID_OPTION'));
  });
});

it('prints what is owned now: nothing once the time is over', () => {
  const has = { nodes: [1, 3], ownedBuckets: [0, 2] };
  const printed = [null, 5, 0].map((validFor) => owned({ ...has, validFor }));
  assert.deepEqual(printed, ['1,3', '1,3', '']);
  assert.equal(owned({ ...has, nodes: null, validFor: 0 }), '');
});

it('lists numbers as the membership file, and buckets by ranges', () => {
  assert.equal(listed([1, 2, 4], false), '1,2,4');
  assert.equal(listed([0, 1, 2, 4, 6, 7], true), '0-2,4,6-7');
  assert.equal(listed([], true), '');
});

describe('the control socket', () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'nfq-cluster-test-'));
  });
  after(async () => {
    await rm(directory, { recursive: true });
  });
  let sockets = 0;
  const newPath = (): string => path.join(directory, `${++sockets}.sock`);

  /** A server that answers with the request itself. */
  const echo = (request: Request): Promise<unknown> => Promise.resolve(request);

  async function served(
    file: string,
    work: (file: string) => Promise<void>,
    handle = echo,
  ): Promise<void> {
    const server = await ControlServer.listen(file, handle);
    try {
      await work(file);
    } finally {
      await server.close();
    }
  }

  /** All that comes back; what is sent is not ended. */
  async function talk(file: string, ...sent: (string | Buffer)[]): Promise<string> {
    const socket = net.connect(file);
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.on('error', () => undefined); // cut off while it still writes
    for (const part of sent) socket.write(part);
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk) => (text += String(chunk)));
    await closed;
    return text;
  }

  const works = async (file: string): Promise<void> => {
    assert.deepEqual(await new Control({ path: file }).status(), { command: 'status' });
  };

  it('is made with its directory, is its owner’s alone, and goes', async () => {
    const file = path.join(directory, 'new', 'e.sock');
    await served(file, async () => {
      const found = await stat(file);
      assert.ok(found.isSocket());
      assert.equal(found.mode & 0o777, 0o600);
      assert.deepEqual(await readdir(path.dirname(file)), ['e.sock']);
      await works(file);
    });
    assert.deepEqual(await readdir(path.dirname(file)), []);
  });

  it('carries a request, its answer and its error', async () => {
    const refuse = new NfqClusterError('ERR_NOT_OWNED', 'Node 2 is not owned', { remedy: 'Look.' });
    const handle = (request: Request): Promise<unknown> =>
      request.command === 'own' ? Promise.reject(refuse) : echo(request);
    await served(
      newPath(),
      async (file) => {
        await works(file);
        await assert.rejects(new Control({ path: file }).own('-2'), {
          code: 'ERR_NOT_OWNED',
          message: refuse.message,
          remedy: 'Look.',
        });
      },
      handle,
    );
  });

  it('is asked for by a name, a namespace or a path, and by nothing else', async () => {
    const wrong: [unknown, RegExp][] = [
      [{ nmae: 'web' }, /Unknown option nmae\. Did you mean name\?/],
      [null, /an object with name, netns or path for the engine but received null/],
      [{ name: '../q0' }, /for name but received "\.\.\/q0"/],
      [{ netns: 5 }, /for netns but received 5/],
      [{ path: '' }, /a path for path but received ""/],
    ];
    for (const [target, message] of wrong) {
      const refused = { code: 'ERR_INVALID_OPTION', message };
      assert.throws(() => new Control(target as object), refused);
    }
    await assert.rejects(new Control({ netns: 'absent' }).status(), code('ERR_NO_NETNS'));
  });

  it('is its process’s own, also in a worker of a cluster that has left it', async () => {
    const file = newPath();
    cluster.setupPrimary({
      exec: path.join(root, 'test/support/cluster-child.ts'),
      execArgv: ['--import', 'tsx'],
      args: [file],
    });
    const worker = cluster.fork();
    try {
      await once(worker, 'disconnect');
      assert.deepEqual(await new Control({ path: file }).status(), { command: 'status' });
    } finally {
      worker.process.kill('SIGKILL');
    }
  });

  it('is waited for as long as its work takes', async (t) => {
    const file = newPath();
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const server = await ControlServer.listen(file, (request) => {
      t.mock.timers.tick(9000);
      return Promise.resolve(request);
    });
    try {
      assert.deepEqual(await new Control({ path: file }).status(), { command: 'status' });
    } finally {
      await server.close();
    }
  });

  it('is told from one of another program', async () => {
    const file = newPath();
    const answers = ['null', '5', '{}', '{"ok":true}', '{"ok":false}', '{"ok":false,"error":1}'];
    const server = net.createServer((socket) => socket.resume().end(answers[0]!)).listen(file);
    await once(server, 'listening');
    try {
      for (; answers.length > 0; answers.shift()) {
        await assert.rejects(new Control({ path: file }).status(), code('ERR_NO_ENGINE'));
      }
    } finally {
      server.close();
    }
  });

  it('answers nonsense with an error, and goes on', async () => {
    await served(newPath(), async (file) => {
      const nonsense = [
        '\n',
        'status\n',
        '{"command":"status"\n',
        '{"command":"stop"}\n',
        '{"command":"status","more":1}\n',
        '{"command":"own"}\n',
        '{"command":"own","change":2}\n',
        '{"command":"own","change":"+2","validFor":"1"}\n',
        '{"command":"own","change":"1","validFor":0}\n',
        '{"command":"own","change":"1","validFor":-5000,"asked":0}\n',
        '[]\n',
        'null\n',
        '{"__proto__":{"command":"status"}}\n',
        Buffer.from([0, 0xff, 0xfe, 0x80, 10]),
      ];
      for (const line of nonsense) {
        const answer = JSON.parse(await talk(file, line)) as {
          ok: boolean;
          error: { code: string };
        };
        assert.deepEqual(
          [answer.ok, answer.error.code],
          [false, 'ERR_INVALID_OPTION'],
          String(line),
        );
      }
      const misspelt = await talk(file, '{"command":"own","change":"+2","deadline":5}\n');
      assert.match(misspelt, /Known here: command, change, validFor, asked\./);
      await works(file);
    });
  });

  it('reads no endless line', async () => {
    await served(newPath(), async (file) => {
      assert.match(await talk(file, 'x'.repeat(10_000_000)), /^\{"ok":false.*8192 characters/);
      await works(file);
    });
  });

  it('is not stopped by clients that hang, leave, or never read', async () => {
    await served(newPath(), async (file) => {
      const hanging = Array.from({ length: 200 }, () => net.connect(file).on('error', () => {}));
      for (const socket of hanging) socket.write('{"command":');
      await Promise.all(hanging.slice(0, 10).map((socket) => once(socket, 'close')));
      await works(file);
      const leaving = net.connect(file);
      leaving.write('{"command":"status"}\n');
      leaving.destroy();
      const halfway = net.connect(file);
      halfway.end('{"command"');
      halfway.resume();
      await once(halfway, 'close');
      await works(file);
      for (const socket of hanging) socket.destroy();
    });
  });

  it('lets go of a client that hangs when it is closed', async () => {
    const file = newPath();
    const server = await ControlServer.listen(file, echo);
    const hanging = net.connect(file);
    await once(hanging, 'connect');
    await works(file);
    const gone = once(hanging.resume(), 'close');
    await server.close();
    await gone;
    await assert.rejects(new Control({ path: file }).status(), code('ERR_NO_ENGINE'));
  });

  it('answers a thousand clients at a time', async () => {
    await served(newPath(), async (file) => {
      const request = '{"command":"status"}\n';
      let answered = 0;
      for (let round = 0; round < 10; round += 1) {
        const answers = await Promise.all(Array.from({ length: 100 }, () => talk(file, request)));
        answered += answers.filter((answer) => answer.startsWith('{"ok":true')).length;
      }
      // Above 32 that have not spoken the oldest is cut off; those that spoke are answered.
      assert.ok(answered >= 320, `${answered}`);
      await works(file);
    });
  });

  it('belongs to one server, and stays when a second one comes', async () => {
    await served(newPath(), async (file) => {
      await assert.rejects(ControlServer.listen(file, echo), code('ERR_CONTROL_TAKEN'));
      assert.deepEqual(
        (await readdir(directory)).filter((name) => name.startsWith('.')),
        [],
      );
      await works(file);
    });
  });

  it('is one server’s where twenty begin at once over what a killed one left', async () => {
    const file = newPath();
    await leaveStale(file);
    const servers = await Promise.allSettled(
      Array.from({ length: 20 }, () => ControlServer.listen(file, echo)),
    );
    const listening = servers.filter((server) => server.status === 'fulfilled');
    for (const server of servers) {
      if (server.status === 'rejected') assert.ok(code('ERR_CONTROL_TAKEN')(server.reason));
    }
    assert.equal(listening.length, 1);
    await works(file);
    assert.deepEqual(
      (await readdir(directory)).filter((name) => name.startsWith('.')),
      [],
    );
    await listening[0]!.value.close();
  });

  it('replaces nothing that is no socket', async () => {
    const file = newPath();
    await writeFile(file, 'precious');
    await assert.rejects(ControlServer.listen(file, echo), code('ERR_CONTROL_TAKEN'));
    assert.equal((await stat(file)).size, 8);
    await assert.rejects(new Control({ path: file }).status(), code('ERR_NO_ENGINE'));
  });

  it('does not remove what took its place', async () => {
    const file = newPath();
    const first = await ControlServer.listen(file, echo);
    await rm(file);
    await served(file, async () => {
      await first.close();
      await works(file);
    });
  });

  it('says where it cannot be', async () => {
    await assert.rejects(ControlServer.listen('/proc/nowhere/e.sock', echo), {
      code: 'ERR_SYSTEM',
      message: /\/proc\/nowhere\/e\.sock/,
    });
  });
});
