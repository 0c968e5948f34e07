import { randomUUID } from 'node:crypto';
import { chmod, stat, unlink } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import { NfqClusterError, invalidOption } from '../errors.js';
import { parse } from '../options/parse.js';
import { CONTROL_DIRECTORY } from './path.js';
import { LONGEST_REQUEST, requestSchema, type Answer, type Request } from './protocol.js';
import { claim, makeDirectory, sweep } from './socket-file.js';

/** Milliseconds for a client to send its request, and to take the answer; who is slower is cut off. */
const PATIENCE = 5000;
/** Connections that have not yet sent a whole request; one more cuts off the oldest. */
const MOST_WAITING = 32;
/** All connections: a bound for the file descriptors. */
const MOST_CONNECTIONS = 256;

/** Carries a request out, and resolves with the answer's `result`. */
type Handler = (request: Request) => Promise<unknown>;

/**
 * The Unix socket through which a running engine is asked and changed. It has no part in deciding packets, so
 * nothing that a client does to it reaches the queue threads.
 */
export class ControlServer {
  readonly path: string;
  readonly #server: net.Server;
  readonly #handle: Handler;
  /** Sockets whose request is not yet complete, the oldest first. */
  readonly #waiting = new Set<net.Socket>();
  readonly #busy = new Set<Promise<void>>();
  #inode = 0;

  private constructor(file: string, handle: Handler) {
    this.path = file;
    this.#handle = handle;
    this.#server = net.createServer({ allowHalfOpen: true }, (socket) => this.#receive(socket));
    this.#server.maxConnections = MOST_CONNECTIONS;
  }

  /**
   * Listens, mode 0600; the last directory is made where it is missing. A socket that a killed process left is
   * replaced.
   * @throws NfqClusterError `ERR_CONTROL_TAKEN`, `ERR_SYSTEM`
   */
  static async listen(file: string, handle: Handler): Promise<ControlServer> {
    const server = new ControlServer(file, handle);
    try {
      await makeDirectory(path.dirname(file));
      if (path.dirname(file) === CONTROL_DIRECTORY) await sweep(CONTROL_DIRECTORY);
      await server.#publish();
    } catch (error) {
      server.#server.close();
      throw error instanceof NfqClusterError ? error : cannotListen(file, error);
    }
    return server;
  }

  /** Answers what has been asked, and removes the socket. */
  async close(): Promise<void> {
    this.#server.close();
    const ours = await stat(this.path).then(
      ({ ino }) => ino === this.#inode,
      () => false,
    );
    if (ours) await unlink(this.path).catch(() => undefined);
    for (const socket of this.#waiting) socket.destroy();
    await Promise.all(this.#busy);
  }

  /*
   * The socket is bound under a hidden name and then linked to its own, so that it appears there with its
   * mode already set, and only if the name is free: link() replaces nothing.
   */
  async #publish(): Promise<void> {
    const hidden = path.join(path.dirname(this.path), `.${randomUUID().slice(0, 8)}`);
    await new Promise<void>((resolve, reject) => {
      // Exclusive: otherwise, in a worker of Node's cluster module, the primary process would listen, and might not answer.
      this.#server.once('error', reject).listen({ path: hidden, exclusive: true }, resolve);
    });
    this.#server.unref();
    try {
      await chmod(hidden, 0o600);
      this.#inode = (await stat(hidden)).ino;
      await claim(hidden, this.path);
    } finally {
      await unlink(hidden).catch(() => undefined);
    }
  }

  #receive(socket: net.Socket): void {
    const [oldest] = this.#waiting;
    if (this.#waiting.size >= MOST_WAITING) oldest!.destroy();
    this.#waiting.add(socket);
    const cutOff = setTimeout(() => socket.destroy(), PATIENCE).unref();
    let text = '';
    const read = (chunk: string): void => {
      text += chunk;
      const end = text.indexOf('\n');
      if (end < 0 && text.length <= LONGEST_REQUEST) return;
      socket.off('data', read).pause();
      clearTimeout(cutOff);
      this.#waiting.delete(socket);
      this.#track(this.#answer(socket, end < 0 ? undefined : text.slice(0, end)));
    };
    socket
      .setEncoding('utf8')
      .on('data', read)
      .on('error', () => socket.destroy())
      .on('end', () => this.#waiting.has(socket) && socket.destroy())
      .on('close', () => {
        clearTimeout(cutOff);
        this.#waiting.delete(socket);
      })
      .unref();
  }

  #track(work: Promise<void>): void {
    this.#busy.add(work);
    void work.then(() => this.#busy.delete(work));
  }

  async #answer(socket: net.Socket, line: string | undefined): Promise<void> {
    const answer = await this.#carryOut(socket, line);
    if (answer === undefined || socket.destroyed) return;
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    const cutOff = setTimeout(() => socket.destroy(), PATIENCE).unref();
    void closed.then(() => clearTimeout(cutOff));
    socket.end(`${JSON.stringify(answer)}\n`, () => socket.destroy());
    await closed;
  }

  /** Gives no answer where nobody waits for it, and then changes nothing. */
  async #carryOut(socket: net.Socket, line: string | undefined): Promise<Answer | undefined> {
    try {
      const request = parse(requestSchema, read(line), 'request');
      if (request.command === 'own' && !(await isWaiting(socket))) return undefined;
      return { ok: true, result: await this.#handle(request) };
    } catch (error) {
      if (!(error instanceof NfqClusterError)) {
        return { ok: false, error: { code: 'ERR_SYSTEM', message: String(error) } };
      }
      const { code, message, expected, found, remedy } = error;
      return { ok: false, error: { code, message, expected, found, remedy } };
    }
  }
}

/**
 * Whether the client is still there: one that has given up may have told another node since, as while this process was
 * stopped. White space before an answer means nothing in JSON.
 */
const isWaiting = (socket: net.Socket): Promise<boolean> =>
  new Promise((resolve) => {
    socket.write(' ', (error) => resolve(error === null || error === undefined));
  });

function read(line: string | undefined): unknown {
  if (line === undefined) {
    throw invalidOption('request', `a line of at most ${LONGEST_REQUEST} characters`, 'more');
  }
  try {
    return JSON.parse(line);
  } catch {
    throw invalidOption('request', 'a line of JSON, such as {"command":"status"}', line);
  }
}

function cannotListen(file: string, error: unknown): NfqClusterError {
  const { errno, syscall, message } = error as NodeJS.ErrnoException;
  return new NfqClusterError(
    'ERR_SYSTEM',
    `Cannot listen on the control socket ${file}: ${message}`,
    {
      remedy: 'Set control to the absolute path of a socket in a writable directory',
      errno,
      syscall,
      cause: error,
    },
  );
}
