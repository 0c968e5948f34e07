/* Verdicts that the kernel refuses, as the process gave its privileges away once the engine was open. */
import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { Hasher, type Options, type Stats } from '../../src/index.js';
import { keepsUser } from '../support/capabilities.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { root, waitFor } from '../support/processes.js';
import { NODE, wire, type Wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? keepsUser() : 'needs root';
const SHARE = { totalNodes: 2, localNode: 1, hashSeed: 1 };
const hasher = new Hasher({ totalNodes: 2, hashSeed: 1 });
const sources = Array.from({ length: 200 }, (_, index) => `10.64.0.${index + 1}`);
const owned = sources.filter((source) => hasher.node(source) === 1);
const foreign = sources.filter((source) => hasher.node(source) === 2);

interface Said {
  fault?: string;
  done?: string;
  result?: unknown;
}

/** An engine in a process of its own. */
class Child implements AsyncDisposable {
  readonly faults: string[] = [];
  readonly #process: ChildProcess;

  constructor({ node }: Wire) {
    const options: Options = {
      ...SHARE,
      interfaces: ['eth0'],
      queues: [0, 1],
      conntrack: 'off',
      rules: 'auto',
      netns: node.path,
      control: 'none',
    };
    const file = path.join(root, 'test/support/refused-child.ts');
    this.#process = fork(file, [JSON.stringify(options)], { execArgv: ['--import', 'tsx'] });
    this.#process.on('message', ({ fault }: Said) => {
      if (fault !== undefined) this.faults.push(fault);
    });
  }

  async tell(order: string): Promise<unknown> {
    if (order !== 'open') this.#process.send(order);
    for (;;) {
      const [said] = (await Promise.race([
        once(this.#process, 'message'),
        once(this.#process, 'exit').then(() => assert.fail(`it ended before it did: ${order}`)),
      ])) as [Said];
      if (said.done === order) return said.result;
    }
  }

  async decided(): Promise<number> {
    const stats = (await this.tell('stats')) as Stats;
    return stats.owned + stats.foreign;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { exitCode, signalCode } = this.#process;
    if (exitCode !== null || signalCode !== null) return;
    this.#process.kill('SIGKILL');
    await once(this.#process, 'exit');
  }
}

const RULES = `table inet seen {
  counter arrived { }
  counter passed { }
  chain before { type filter hook prerouting priority raw; udp dport 9 counter name arrived; }
  chain behind { type filter hook input priority 0; udp dport 9 counter name passed; }
}`;

/** Sends to the node of a wire, and counts what gets in there. */
class Counted {
  readonly #wire: Wire;
  #sent = 0;

  private constructor(wire: Wire) {
    this.#wire = wire;
  }

  static async on(wire: Wire): Promise<Counted> {
    await wire.node.run('nft', ['-f', '-'], RULES);
    return new Counted(wire);
  }

  /** Returns once all of it has got its verdict, or waits for none. */
  async send(...from: readonly string[]): Promise<void> {
    const { sender, node } = this.#wire;
    await inject(
      sender,
      'eth0',
      from.map((src) => udp({ src, dst: NODE.ipv4 })),
    );
    this.#sent += from.length;
    await waitFor('all to arrive', async () => (await this.#count('arrived')) === this.#sent);
    const queues = `/proc/${node.pid}/net/netfilter/nfnetlink_queue`;
    await waitFor('all verdicts', () =>
      readFileSync(queues, 'utf8')
        .split('\n')
        .every((row) => /^(\s*\d+){2}\s+0\s|^$/.test(row)),
    );
  }

  passed(): Promise<number> {
    return this.#count('passed');
  }

  async #count(name: string): Promise<number> {
    const listed = await this.#wire.node.run('nft', ['list', 'counter', 'inet', 'seen', name]);
    return Number(/packets (\d+)/.exec(listed)![1]);
  }
}

describe('a verdict that the kernel refuses', { skip }, () => {
  test('is a fault of its queue; the packet gets in nowhere, and other queues go on', async () => {
    await using at = await wire();
    await using child = new Child(at);
    await child.tell('open');
    const counted = await Counted.on(at);
    await counted.send(owned[0]!);
    await waitFor('an owned packet', async () => (await counted.passed()) === 1);

    await child.tell('lower privileges');
    await counted.send(...Array.from({ length: 3 }, () => foreign[0]!));
    await waitFor('the fault', () => child.faults.length > 0);
    assert.deepEqual(child.faults, ['ERR_PRIVILEGE']);
    await child.tell('raise privileges');

    const before = await child.decided();
    await counted.send(...owned);
    const ofTheOther = (await child.decided()) - before;
    assert.ok(ofTheOther > 0 && ofTheOther < owned.length, `${ofTheOther} of ${owned.length}`);
    assert.equal(await counted.passed(), 1 + ofTheOther);

    await child.tell('own nothing');
    await counted.send(...owned);
    assert.equal(await child.decided(), before + 2 * ofTheOther);
    assert.equal(await counted.passed(), 1 + ofTheOther, 'nothing was owned');
    await child.tell('close');
  });
});
