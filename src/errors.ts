import { constants } from 'node:os';

/**
 * Stable error codes: an error's message may change between versions, its code never does.
 *
 * - `ERR_INVALID_OPTION`: an option, an argument or a line of input is not what it must be.
 * - `ERR_PRIVILEGE`: the process lacks CAP_NET_ADMIN (or CAP_SYS_ADMIN, to enter a namespace;
 *   CAP_SYS_NICE, for `realtime`).
 * - `ERR_NO_INTERFACE`: an interface named in the options does not exist.
 * - `ERR_NO_CONNTRACK`: the kernel cannot report connections in the way that was asked for.
 * - `ERR_QUEUE_TAKEN`: another process or engine listens on the queue.
 * - `ERR_NO_NFQUEUE`: the kernel cannot queue packets to a process.
 * - `ERR_NO_NETNS`: the network namespace does not exist or cannot be entered.
 * - `ERR_NO_TOOL`: a program that is needed (nft, ip, sysctl or another) is not installed.
 * - `ERR_RULES`: the kernel refused a rule, or the rules of an engine are gone.
 * - `ERR_READ_ONLY`: a kernel parameter must be changed, but /proc/sys cannot be written.
 * - `ERR_CONTROL_TAKEN`: another engine listens on the control socket.
 * - `ERR_NO_ENGINE`: no engine answers on a control socket.
 * - `ERR_ALREADY_OWNED`, `ERR_NOT_OWNED`: what was to be added is already owned, or what was to be removed
 *   is not owned.
 * - `ERR_EXPIRED`: the ownership that was to be changed has expired.
 * - `ERR_NOT_EXPORTABLE`: the other program cannot express the configuration.
 * - `ERR_HELD`: a setup was reverted, but its empty chains stay, since queues hold packets all the time.
 * - `ERR_CONFLICT`: another setup, engine or machine is in the way: it has the same name, a queue or bits of the
 *   connmark in common, or a cluster address alone.
 * - `ERR_CLOSED`: the engine is closed, or being closed.
 * - `ERR_ADDON`: the native addon is missing or was built for another system.
 * - `ERR_SYSTEM`: any other failed system call; `errno` and `syscall` say which.
 */
export type ErrorCode =
  | 'ERR_INVALID_OPTION'
  | 'ERR_PRIVILEGE'
  | 'ERR_NO_CONNTRACK'
  | 'ERR_NO_INTERFACE'
  | 'ERR_QUEUE_TAKEN'
  | 'ERR_NO_NFQUEUE'
  | 'ERR_NO_NETNS'
  | 'ERR_NO_TOOL'
  | 'ERR_RULES'
  | 'ERR_READ_ONLY'
  | 'ERR_CONTROL_TAKEN'
  | 'ERR_NO_ENGINE'
  | 'ERR_ALREADY_OWNED'
  | 'ERR_NOT_OWNED'
  | 'ERR_EXPIRED'
  | 'ERR_NOT_EXPORTABLE'
  | 'ERR_HELD'
  | 'ERR_CONFLICT'
  | 'ERR_CLOSED'
  | 'ERR_ADDON'
  | 'ERR_SYSTEM';

/** What is undefined counts as not given. */
export interface ErrorDetails {
  /** What was expected, as a noun phrase, such as "an integer from 1 to 32". */
  expected?: string | undefined;
  /** What was found instead, printed as it would stand in source. */
  found?: string | undefined;
  /** What to do about it, as a sentence. */
  remedy?: string | undefined;
  /** The system's error number, where a system call failed; in the error it is positive. */
  errno?: number | undefined;
  /** The system call that failed. */
  syscall?: string | undefined;
  cause?: unknown;
}

/** Every error that this package throws on purpose. */
export class NfqClusterError extends Error {
  override readonly name = 'NfqClusterError';
  readonly code: ErrorCode;
  /* Only declared, so that an error has none of them that it was not given. */
  declare readonly expected?: string;
  declare readonly found?: string;
  declare readonly remedy?: string;
  declare readonly errno?: number;
  declare readonly syscall?: string;

  constructor(code: ErrorCode, summary: string, details: ErrorDetails = {}) {
    const { cause, errno, ...rest } = details;
    super(
      // Some of Node.js's own messages end with a full stop.
      details.remedy === undefined ? summary : `${summary.replace(/\.$/, '')}. ${details.remedy}`,
      cause === undefined ? {} : { cause },
    );
    this.code = code;
    const given = { ...rest, errno: errno && Math.abs(errno) };
    for (const [name, value] of Object.entries(given))
      if (value !== undefined) Object.assign(this, { [name]: value });
  }
}

const { EAGAIN, EMFILE } = constants.errno;

/** What to do where a limit made a system call fail; nothing for any other failure. */
export function remedyForLimit(errno = 0, syscall = ''): string | undefined {
  const error = Math.abs(errno);
  // Of other calls, EAGAIN is no limit.
  if (error === EAGAIN && /^(clone|posix_spawn)/.test(syscall)) return MORE_THREADS;
  return error === EMFILE ? MORE_FILES : undefined;
}

const MORE_THREADS =
  'Let it have more threads and programs (ulimit -u, pids.max of its control group, TasksMax= of its systemd unit), or more memory (ulimit -v)';
const MORE_FILES = 'Let it open more files: ulimit -n, or LimitNOFILE= of its systemd unit';

/** "Expected EXPECTED for NAME but received FOUND", with the remedy behind it. */
export function invalidOption(
  name: string,
  expected: string,
  value: unknown,
  remedy?: string,
): NfqClusterError {
  const found = printed(value);
  return new NfqClusterError(
    'ERR_INVALID_OPTION',
    `Expected ${expected} for ${name} but received ${found}`,
    { expected, found, remedy },
  );
}

export function unknownOption(name: string, remedy: string): NfqClusterError {
  return new NfqClusterError('ERR_INVALID_OPTION', `Unknown option ${name}`, {
    expected: 'a known option',
    found: name,
    remedy,
  });
}

const LONGEST_PRINTED = 60;

/** A value as it would stand in source, cut at 60 characters. */
export function printed(value: unknown): string {
  let text = 'an object that cannot be read';
  try {
    const isLong = Array.isArray(value) && value.length > LONGEST_PRINTED;
    text = asSource(isLong ? (value as unknown[]).slice(0, LONGEST_PRINTED) : value);
  } catch {
    /* A getter or a proxy that throws. */
  }
  return text.length > LONGEST_PRINTED ? `${text.slice(0, LONGEST_PRINTED - 3)}...` : text;
}

function asSource(value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function') return 'a function';
  if (ArrayBuffer.isView(value)) return `a ${value.constructor.name} of ${value.byteLength} bytes`;
  if (typeof value !== 'string' && (typeof value !== 'object' || value === null))
    return String(value);
  try {
    /* Nothing, where a toJSON() gives nothing. */
    const text = JSON.stringify(value) as string | undefined;
    if (text !== undefined) return text;
  } catch {
    /* A cycle, or a bigint within. */
  }
  return Object.prototype.toString.call(value);
}
