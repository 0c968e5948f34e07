import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { NfqClusterError } from '../errors.js';
import { run } from '../setup/exec.js';

/* This process may have ended before the program was to be killed for that. */
const UNLESS_ORPHAN = ['sh', '-c', 'test "$PPID" = "$0" && exec "$@"', `${process.pid}`];

/* These end at once, so nobody has to kill them. There are many of them, and each fork of this process takes long. */
const BRIEF = /^(ip|nft|ip6?tables)(-|$)/;

/**
 * A network namespace with the processes started in it. It has no name, so that no other run can
 * meet it, and it cannot be left over: it is held by a `cat` that reads a pipe from this process,
 * and what `spawn` starts gets SIGKILL from the kernel when this thread ends, however it ends.
 */
export class Namespace implements AsyncDisposable {
  readonly #holder: ChildProcess;
  readonly #children = new Set<ChildProcess>();

  private constructor(holder: ChildProcess) {
    this.#holder = holder;
  }

  /**
   * @throws NfqClusterError `ERR_PRIVILEGE` where the system refuses a network namespace.
   */
  static async create(): Promise<Namespace> {
    const holder = spawn('unshare', ['--net', 'cat'], { stdio: 'pipe' });
    const { stdin, stdout, stderr } = holder;
    const errors = text(stderr);
    stdin.on('error', () => undefined); // the exit, below, tells more than EPIPE
    stdin.write('?');
    const echoed = once(stdout, 'data').then(() => true);
    const held = await Promise.race([echoed, ended(holder).then(() => false)]);
    if (!held)
      throw new NfqClusterError('ERR_PRIVILEGE', `No network namespace: ${(await errors).trim()}`);
    holder.unref();
    for (const pipe of [stdin, stdout, stderr]) (pipe as Socket).unref();
    return new Namespace(holder);
  }

  /** A process that lives in the namespace for as long as it exists, for `nsenter --target`. */
  get pid(): number {
    return this.#holder.pid!;
  }

  /** What the option `netns` and `nsenter --net=` take. */
  get path(): string {
    return `/proc/${this.pid}/ns/net`;
  }

  /** Starts a program in the namespace; it is killed with the namespace, or with this thread. */
  spawn(command: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const entry = [`--net=${this.path}`, 'setpriv', '--pdeathsig', 'KILL'];
    const child = spawn('nsenter', [...entry, ...UNLESS_ORPHAN, command, ...args], options);
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return child;
  }

  /**
   * Runs a program in the namespace to its end.
   * @returns its standard output
   * @throws NfqClusterError `ERR_SYSTEM` with its standard error, where it does not exit with 0; and what `run` of
   *   the setup throws
   */
  async run(
    command: string,
    args: readonly string[],
    input: string | Uint8Array = '',
  ): Promise<string> {
    return outputOf(
      [command, ...args],
      BRIEF.test(command)
        ? await run(command, args, { input, netns: this.path })
        : await this.#outcomeOf(command, args, input),
    );
  }

  async #outcomeOf(
    command: string,
    args: readonly string[],
    input: string | Uint8Array,
  ): Promise<Outcome> {
    const child = this.spawn(command, args, { stdio: 'pipe' });
    child.stdin!.on('error', () => undefined);
    child.stdin!.end(input);
    const [stdout, stderr, status] = await Promise.all([
      text(child.stdout!),
      text(child.stderr!),
      ended(child),
    ]);
    return { stdout, stderr, status };
  }

  /** Runs commands of `ip`, one a line, in the namespace. */
  async ip(...commands: readonly string[]): Promise<void> {
    await this.run('ip', ['-batch', '-'], commands.join('\n'));
  }

  /** Joins two namespaces by a pair of virtual Ethernet interfaces of so many queues, still down. */
  async veth(name: string, peer: Namespace, peerName: string, queues = 1): Promise<void> {
    const each = `numrxqueues ${queues} numtxqueues ${queues}`;
    await this.ip(
      `link add ${name} ${each} type veth peer name ${peerName} ${each} netns ${peer.pid}`,
    );
  }

  /** Sets kernel parameters of the namespace: `{ 'ipv6/ip_nonlocal_bind': 1 }` under /proc/sys/net. */
  async sysctl(settings: Readonly<Record<string, number>>): Promise<void> {
    const lines = Object.entries(settings).map(
      ([name, value]) => `echo ${value} >/proc/sys/net/${name}`,
    );
    const outcome = await run('sh', ['-e'], { input: lines.join('\n'), netns: this.path });
    outputOf(lines, outcome);
  }

  /** Kills what still runs in the namespace and gives it up. */
  async close(): Promise<void> {
    this.#holder.ref();
    const processes = [...this.#children, this.#holder].filter((child) => !hasEnded(child));
    for (const child of processes) child.kill('SIGKILL');
    await Promise.all(processes.map(ended));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** How a program ended: its exit code, or the name of a signal. */
type Outcome = Record<'stdout' | 'stderr', string> & { status: number | string };

function outputOf(line: readonly string[], { stdout, stderr, status }: Outcome): string {
  if (status === 0) return stdout;
  throw new NfqClusterError(
    'ERR_SYSTEM',
    `${line.join(' ')} ended with ${status}: ${stderr.trim()}`,
  );
}

const hasEnded = (child: ChildProcess): boolean =>
  child.exitCode !== null || child.signalCode !== null;

/** Resolves with the exit code, or with the name of the signal that ended the process. */
export async function ended(child: ChildProcess): Promise<number | string> {
  if (!hasEnded(child)) await once(child, 'exit');
  return child.exitCode ?? child.signalCode!;
}
