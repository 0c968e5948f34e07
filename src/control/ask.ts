import net from 'node:net';
import { NfqClusterError } from '../errors.js';
import { answerSchema, type Answer, type Request } from './protocol.js';

/**
 * Asks the engine behind a control socket.
 * @param patience milliseconds until it must have answered
 * @throws NfqClusterError `ERR_NO_ENGINE`, `ERR_PRIVILEGE`, and what the engine answers
 */
export async function ask(file: string, request: Request, patience: number): Promise<unknown> {
  const text = await exchange(file, `${JSON.stringify(request)}\n`, patience);
  const answer = readAnswer(file, text);
  if (answer.ok) return answer.result;
  const { code, message, ...details } = answer.error;
  // The message of the other side has the remedy in it already.
  throw Object.assign(new NfqClusterError(code, message), details);
}

/** Sends a line, and resolves with all that comes back. */
async function exchange(file: string, line: string, patience: number): Promise<string> {
  const signal = AbortSignal.timeout(patience);
  const socket = net.connect({ path: file }).setEncoding('utf8');
  const cut = (): void => {
    const late = new Error(`no answer within ${patience} ms`);
    socket.destroy(Object.assign(late, { code: 'ETIMEDOUT' }));
  };
  signal.addEventListener('abort', cut);
  let text = '';
  try {
    socket.write(line);
    for await (const chunk of socket) text += chunk as string;
    return text;
  } catch (error) {
    throw unreachable(file, error as NodeJS.ErrnoException);
  } finally {
    signal.removeEventListener('abort', cut);
    socket.destroy();
  }
}

function readAnswer(file: string, text: string): Answer {
  try {
    return answerSchema.parse(JSON.parse(text)) as Answer;
  } catch (cause) {
    throw new NfqClusterError(
      'ERR_NO_ENGINE',
      `The answer from ${file} is incomplete or not understood`,
      {
        remedy: 'The engine may be closing just now; ask again',
        cause,
      },
    );
  }
}

function unreachable(file: string, cause: NodeJS.ErrnoException): NfqClusterError {
  return cause.code === 'EACCES' || cause.code === 'EPERM'
    ? new NfqClusterError('ERR_PRIVILEGE', `Not permitted to use the control socket ${file}`, {
        remedy: 'Run as root, or as the user that the engine runs as',
        cause,
      })
    : new NfqClusterError('ERR_NO_ENGINE', `No engine answers on ${file}: ${cause.message}`, {
        remedy: "Check the engine's name, its network namespace and its control socket",
        cause,
      });
}
