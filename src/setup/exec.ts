import { spawn, type ChildProcess } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { NfqClusterError, remedyForLimit } from '../errors.js';
import { CAP_NET_ADMIN, hasCapability, readCapabilities } from './proc.js';

/** How a program ended, and what it wrote. */
export interface Outcome {
  status: number;
  stdout: string;
  stderr: string;
}

/** A program to run, with its arguments and its input. */
export interface Command {
  program: string;
  args: readonly string[];
  /** Its standard input; none unless given. */
  input?: string;
}

interface RunOptions {
  /** Its standard input; empty unless given. */
  input?: string;
  /** A name under /run/netns, or an absolute path; the process's own unless given. */
  netns?: string | undefined;
}

/** The sbin folders are often missing from an ordinary user's PATH, also inside a user namespace. */
const FOLDERS = [
  ...(process.env['PATH'] ?? '').split(delimiter),
  '/usr/local/sbin',
  '/usr/sbin',
  '/sbin',
  '/usr/bin',
  '/bin',
];

/** The programs that we call → the package that has them, the same name on Debian, Fedora and Alpine. */
const PACKAGES: Readonly<Record<string, string>> = {
  nft: 'nftables',
  ip: 'iproute2',
  sysctl: 'procps',
  cat: 'coreutils',
  grep: 'grep',
  nsenter: 'util-linux',
  unshare: 'util-linux',
};

/** The package that has a program which we call. */
export const packageOf = (program: string): string => PACKAGES[program] ?? 'iptables';

/** The path of a program, or undefined where it is not installed. */
export async function findProgram(name: string): Promise<string | undefined> {
  for (const folder of FOLDERS) {
    if (folder === '') continue;
    const path = join(folder, name);
    const executable = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (executable) return path;
  }
  return undefined;
}

/**
 * Runs a program to its end, inside a network namespace if one is named.
 * @returns its outcome, whatever its exit status
 * @throws NfqClusterError `ERR_NO_TOOL`, `ERR_NO_NETNS`, `ERR_PRIVILEGE` when the namespace may not be entered,
 *   `ERR_SYSTEM` when it cannot be started or is killed
 */
export async function run(
  program: string,
  args: readonly string[],
  { input = '', netns }: RunOptions = {},
): Promise<Outcome> {
  const path = await programOrThrow(program);
  if (netns === undefined) return withInput(path, args, input);
  const nsenter = await programOrThrow('nsenter');
  const outcome = await withInput(nsenter, [`--net=${netnsPath(netns)}`, path, ...args], input);
  if (outcome.status !== 0 && outcome.stderr.startsWith('nsenter:'))
    throw cannotEnter(netns, outcome.stderr);
  return outcome;
}

/**
 * As `run`, but a failure is an error.
 * @param purpose what the program was to do, for the message: "install the rules"
 * @throws NfqClusterError `ERR_RULES` with the program's own words, `ERR_PRIVILEGE`, and what `run` throws
 */
export async function runOrThrow(
  purpose: string,
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Outcome> {
  const outcome = await run(program, args, options);
  if (outcome.status === 0) return outcome;
  throw failure(purpose, program, outcome);
}

/**
 * What a program prints as JSON.
 * @param read takes what is needed out of it; an error of its own means that it is not there
 * @throws NfqClusterError `ERR_SYSTEM` where something else is printed, and what `runOrThrow` throws
 */
export async function runForJson<T>(
  purpose: string,
  program: string,
  args: readonly string[],
  netns: string | undefined,
  read: (printed: never) => T,
): Promise<T> {
  const { stdout } = await runOrThrow(purpose, program, args, { netns });
  try {
    return read(JSON.parse(stdout) as never);
  } catch (cause) {
    const line = [program, ...args].join(' ');
    const summary = `Failed to ${purpose}: cannot read what "${line}" prints`;
    const remedy = `Install a later version of the package ${packageOf(program)}`;
    throw new NfqClusterError('ERR_SYSTEM', summary, { remedy, cause });
  }
}

/**
 * What nft lists of something that another process may be removing; empty if it is gone.
 * @throws NfqClusterError what `runOrThrow` throws
 */
export async function nftListing(
  what: readonly string[],
  netns: string | undefined,
  flags: readonly string[] = [],
): Promise<string> {
  const outcome = await run('nft', [...flags, 'list', ...what], { netns });
  if (outcome.status === 0) return outcome.stdout;
  if (outcome.stderr.includes('No such file or directory')) return '';
  throw failure(`list the ${what.join(' ')}`, 'nft', outcome);
}

/** @param purpose as of `runOrThrow` */
export function failure(purpose: string, program: string, outcome: Outcome): NfqClusterError {
  if (isRefused(outcome))
    return new NfqClusterError(
      'ERR_PRIVILEGE',
      `Not permitted to ${purpose}: ${said(program, outcome)}`,
      { remedy: 'Run as root or with CAP_NET_ADMIN' },
    );
  // Of a program that it has, but without the options of ours, BusyBox prints the usage.
  if (outcome.stderr.includes('BusyBox v'))
    return new NfqClusterError(
      'ERR_NO_TOOL',
      `Failed to ${purpose}: the ${program} of BusyBox cannot do that`,
      { remedy: installing(program) },
    );
  return new NfqClusterError('ERR_RULES', `Failed to ${purpose}: ${said(program, outcome)}`);
}

const installing = (program: string): string =>
  `Install the package ${packageOf(program)} (Debian, Fedora, Alpine)`;

/** Whether a program failed for want of privilege; nft 1.0.2 then says nothing at all, as root of a container, too. */
export const isRefused = ({ status, stderr }: Outcome): boolean =>
  status !== 0 &&
  (stderr === ''
    ? process.geteuid!() !== 0 || !hasCapability(readCapabilities(), CAP_NET_ADMIN)
    : /operation not permitted|permission denied|must be root/i.test(stderr));

/** A failed program's own words, on one line. */
export function said(program: string, outcome: Outcome): string {
  const lines = outcome.stderr
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('Try `'));
  return `${program}: ${lines.join(' | ') || `exit status ${outcome.status}`}`;
}

/** The path of a network namespace; empty for the process's own. */
export function netnsPath(netns: string | undefined): string {
  if (netns === undefined) return '';
  return netns.startsWith('/') ? netns : `/run/netns/${netns}`;
}

/** The path of a program. @throws NfqClusterError `ERR_NO_TOOL` */
export async function programOrThrow(name: string): Promise<string> {
  const path = name.startsWith('/') ? name : await findProgram(name);
  if (path !== undefined) return path;
  throw new NfqClusterError('ERR_NO_TOOL', `The program ${name} is not installed`, {
    remedy: installing(name),
  });
}

function cannotEnter(netns: string, stderr: string): NfqClusterError {
  const reason = stderr.trim().split('\n')[0]!;
  return /not permitted|permission denied/i.test(reason)
    ? new NfqClusterError(
        'ERR_PRIVILEGE',
        `Not permitted to enter the network namespace ${netns}: ${reason}`,
        {
          remedy: 'Run as root or with CAP_SYS_ADMIN and CAP_NET_ADMIN',
        },
      )
    : new NfqClusterError(
        'ERR_NO_NETNS',
        `Cannot enter the network namespace ${netns}: ${reason}`,
        {
          remedy: 'The command "ip netns" lists those that have a name',
        },
      );
}

/* Node.js makes a program's input a socket. nft 0.9 cannot open it, nft 1.0.9 wants a file or a pipe. */
const NO_SOCKET = /Could not open file "\/dev\/stdin"|Not a regular file: "\/dev\/stdin"/;

/** The paths of programs that have refused it. */
const needPipe = new Set<string>();

/** Runs a program, with its input from a pipe if need be. */
async function withInput(path: string, args: readonly string[], input: string): Promise<Outcome> {
  if (input === '' || !needPipe.has(path)) {
    const outcome = await spawned(path, args, input);
    if (outcome.status === 0 || !NO_SOCKET.test(outcome.stderr)) return outcome;
    needPipe.add(path);
  }
  return spawned(await programOrThrow('sh'), ['-c', 'cat | "$@"', 'sh', path, ...args], input);
}

async function spawned(path: string, args: readonly string[], input: string): Promise<Outcome> {
  try {
    return await outcomeOf(path, args, input);
  } catch (error) {
    const cause = error as NodeJS.ErrnoException;
    throw new NfqClusterError('ERR_SYSTEM', `Cannot run ${path}: ${cause.message}`, {
      errno: cause.errno,
      syscall: cause.syscall,
      remedy: remedyForLimit(cause.errno, cause.syscall),
      cause,
    });
  }
}

function outcomeOf(path: string, args: readonly string[], input: string): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    // Messages are read for their meaning, so they must not be translated.
    const env = { ...process.env, LC_ALL: 'C' };
    // In a session of its own: Ctrl-C is for this process to act on, and not to cut a step short.
    const options = { stdio: 'pipe', env, detached: true } as const;
    const child: ChildProcess = spawn(path, args, options);
    child.on('error', reject);
    let stdout = '';
    let stderr = '';
    // If the process can open no more files, there are no streams, and the error comes after this.
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.on('close', (status, signal) => {
      // What was cut off is no answer.
      if (status === null) reject(new Error(`it was killed by ${signal}`));
      else resolve({ status, stdout, stderr });
    });
    // A program that ends without reading its input tells why by its status.
    child.stdin?.on('error', () => {}).end(input);
  });
}
