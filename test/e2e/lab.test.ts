/* The laboratory behind `npm start`, as built. */
import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { ended } from '../../src/lab/namespaces.js';
import type * as laboratory from '../../src/lab/laboratory.js';
import type * as reporting from '../../src/lab/report.js';
import { hiddenFromOthers, NOBODY } from '../support/capabilities.js';
import { root, waitFor, type Outcome } from '../support/processes.js';

type Report = reporting.Report;

const isRoot = process.geteuid!() === 0;
const skip = isRoot ? false : 'needs root';

/** A laboratory whose processes can be told from all others, because they inherit a mark. */
class Run {
  readonly #mark = `NFQ_CLUSTER_TEST=${randomUUID()}`;
  readonly child: ChildProcess;
  readonly outcome: Promise<Outcome>;

  constructor(args: readonly string[], prefix: readonly string[] = []) {
    const line = [...prefix, process.execPath, path.join(root, 'dist/lab/main.js'), ...args];
    const [name, value] = this.#mark.split('=') as [string, string];
    const env = { ...process.env, [name]: value };
    this.child = spawn(line[0]!, line.slice(1), { env, stdio: ['ignore', 'pipe', 'pipe'] });
    const outcome = Promise.all([
      ended(this.child),
      text(this.child.stdout!),
      text(this.child.stderr!),
    ]);
    this.outcome = outcome.then(([status, stdout, stderr]) => ({ status, stdout, stderr }));
  }

  /** Processes of the run; a namespace without a process and without a name is gone. */
  processes(): number[] {
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
    return pids.filter((pid) => this.#isOurs(pid)).map(Number);
  }

  #isOurs(pid: string): boolean {
    try {
      return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(this.#mark);
    } catch {
      return false; // ended in the meantime
    }
  }

  async leavesNothing(): Promise<void> {
    await waitFor(
      'all processes of the laboratory have ended',
      () => this.processes().length === 0,
    );
  }
}

/** Checks a report without a fault, and that every node did its share. */
function assertShared(report: Report, nodes: number): void {
  const { flows, exactlyOne, none, several, faults } = report;
  assert.deepEqual(
    { flows, exactlyOne, none, several, faults },
    { flows: 4000, exactlyOne: 4000, none: 0, several: 0, faults: [] },
  );
  assert.deepEqual(
    report.nodes.map(({ node }) => node),
    Array.from({ length: nodes }, (_, index) => index + 1),
  );
  for (const { node, answered, received, owned, foreign } of report.nodes) {
    const fair = flows / nodes;
    assert.ok(
      Math.abs(answered - fair) < 0.4 * fair,
      `node ${node} answered ${answered} of ${flows}`,
    );
    assert.equal(received, owned + foreign, `node ${node} decided all that it received`);
    assert.ok(owned > 2 * answered, `node ${node} owned ${owned} packets of ${answered} flows`);
    assert.ok(nodes === 1 || foreign > owned / 2, `node ${node} saw ${foreign} packets for others`);
  }
  assert.equal(
    report.nodes.reduce((sum, { answered }) => sum + answered, 0),
    flows,
  );
  assert.ok(report.seconds < 60);
}

test('three nodes answer each flow exactly once', { skip }, async () => {
  const run = new Run(['--json']);
  const { status, stdout, stderr } = await run.outcome;
  assert.equal(status, 0, stderr);
  assertShared(JSON.parse(stdout) as Report, 3);
  assert.match(stderr, /^4,000 of 4,000 flows$/m);
  await run.leavesNothing();
});

test('eight nodes, and a table', { skip }, async () => {
  const run = new Run(['--nodes', '8']);
  const { status, stdout, stderr } = await run.outcome;
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^Node +Flows answered +Packets seen +Owned +Foreign$/m);
  assert.equal(stdout.match(/^[1-8](?: +[\d,]+){4}$/gm)?.length, 8, stdout);
  assert.match(stdout, /answered by exactly one node +4,000$/m);
  await run.leavesNothing();
});

/** Whether someone who is not root may make network namespaces here, and read this checkout. */
function ordinaryUserCannot(): string | false {
  if (!isRoot) return false;
  const [command, ...args] = NOBODY;
  const namespace = ['unshare', '--user', '--map-root-user', '--net', 'true'];
  if (spawnSync(command, [...args, ...namespace]).status !== 0)
    return 'the system forbids user namespaces';
  return hiddenFromOthers();
}

test('as an ordinary user', { skip: ordinaryUserCannot() }, async () => {
  const run = new Run(['--json'], isRoot ? NOBODY : []);
  const { status, stdout, stderr } = await run.outcome;
  assert.equal(status, 0, stderr);
  assertShared(JSON.parse(stdout) as Report, 3);
  await run.leavesNothing();
});

test('a cluster in which two nodes have the same number fails', { skip }, async () => {
  const built = (name: string): Promise<unknown> =>
    import(pathToFileURL(path.join(root, 'dist/lab', name)).href);
  const { runLaboratory } = (await built('laboratory.js')) as typeof laboratory;
  const { exitStatus } = (await built('report.js')) as typeof reporting;
  const { report } = await runLaboratory(
    { nodes: 3, sources: 15, localNodes: [1, 1, 3] },
    () => undefined,
  );
  const { flows, exactlyOne, none, several, faults } = report;
  assert.equal(flows, 60);
  assert.equal(exactlyOne + none + several, flows);
  for (const count of [exactlyOne, none, several])
    assert.ok(count > flows / 6, JSON.stringify(report));
  assert.ok(faults.some(({ letInBy }) => letInBy.join() === '1,2'));
  assert.ok(faults.some(({ answers, letInBy }) => answers.length === 0 && letInBy.length === 0));
  assert.equal(exitStatus(report), 1);
});

for (const signal of ['SIGINT', 'SIGTERM', 'SIGKILL'] as const) {
  test(`nothing is left behind by ${signal}`, { skip }, async () => {
    const run = new Run([]);
    await once(run.child.stderr!, 'data');
    await waitFor('the clients run', () => run.processes().length >= 14);
    run.child.kill(signal);
    const { status } = await run.outcome;
    assert.equal(status, { SIGINT: 130, SIGTERM: 143, SIGKILL: 'SIGKILL' }[signal]);
    await run.leavesNothing();
  });
}

test(
  '--keep leaves it standing, and says how to look around and how to remove it',
  { skip },
  async () => {
    const run = new Run(['--keep']);
    const { status, stderr } = await run.outcome;
    assert.equal(status, 0, stderr);
    try {
      const sh = (command: string): string =>
        spawnSync('sh', ['-c', command], { encoding: 'utf8' }).stdout;
      const said = (what: string): string =>
        new RegExp(`^  ${what} +(nsenter.*)$`, 'm').exec(stderr)![1]!;
      assert.match(sh(said('who answers')), /^[123] hello\n$/);
      assert.match(sh(said('rules')), /nfq-cluster-lab/);
      assert.match(sh(said('node 2').replace('bash', 'ip address')), /192\.0\.2\.10/);
    } finally {
      spawnSync('sh', ['-c', /^ {2}remove it all +(kill \d+)$/m.exec(stderr)![1]!]);
    }
    await run.leavesNothing();
  },
);

for (const count of ['0', '9', '2.5', 'three']) {
  test(`--nodes ${count} is refused`, async () => {
    const { status, stderr } = await new Run(['--nodes', count]).outcome;
    assert.equal(status, 1);
    assert.match(stderr, /Expected a whole number from 1 to 8/);
  });
}
