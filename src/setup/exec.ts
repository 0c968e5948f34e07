import { accessSync, constants as modes } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, join } from 'node:path';
import { NfqClusterError } from '../errors.js';
import { fromNative, native } from '../native.js';
import { netnsPath } from '../netns.js';
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
  input?: string | Uint8Array | undefined;
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
  unshare: 'util-linux',
};

/** The package that has a program which we call. */
export const packageOf = (program: string): string => PACKAGES[program] ?? 'iptables';

/** The path of a program, or undefined where it is not installed. */
export const findProgram = (name: string): string | undefined =>
  FOLDERS.filter((folder) => folder !== '')
    .map((folder) => join(folder, name))
    .find(isExecutable);

function isExecutable(path: string): boolean {
  try {
    accessSync(path, modes.X_OK);
    return true;
  } catch {
    return false;
  }
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
  const path = programOrThrow(program);
  if (mayStartNone())
    throw new NfqClusterError('ERR_SYSTEM', `Not permitted to run ${path}`, {
      remedy: 'Start Node.js with --allow-child-process',
    });
  // Messages are read for their meaning, so they must not be translated.
  const env = Object.entries({ ...process.env, LC_ALL: 'C' });
  const environment = env.map(([name, value]) => `${name}=${value}`);
  try {
    const { signal, ...outcome } = await native.runProgram(
      netnsPath(netns),
      path,
      [path, ...args],
      environment,
      input,
    );
    if (signal === 0) return outcome;
    // What was cut off is no answer.
    throw new NfqClusterError('ERR_SYSTEM', `${path} was killed by ${nameOf(signal)}`);
  } catch (error) {
    throw fromNative(error);
  }
}

/** The addon would start them under Node's --permission, too. */
function mayStartNone(): boolean {
  const { permission } = process as Partial<Pick<NodeJS.Process, 'permission'>>;
  return permission !== undefined && !permission.has('child');
}

const nameOf = (signal: number): string =>
  Object.entries(constants.signals).find(([, number]) => number === signal)?.[0] ??
  `signal ${signal}`;

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

/** The path of a program. @throws NfqClusterError `ERR_NO_TOOL` */
export function programOrThrow(name: string): string {
  const path = name.startsWith('/') ? name : findProgram(name);
  if (path !== undefined) return path;
  throw new NfqClusterError('ERR_NO_TOOL', `The program ${name} is not installed`, {
    remedy: installing(name),
  });
}
