/* What the kernel tells of a network namespace in files below /proc, and what is set there. */
import { fromNative, native } from '../native.js';
import { netnsPath } from '../netns.js';

/** A file of /proc/net, or the errno with which it cannot be read. */
export async function readProcNet(
  file: string,
  netns: string | undefined,
): Promise<string | number> {
  return (await read([`/proc/thread-self/net/${file}`], netns))[0]!;
}

/** A file of /proc/net, or undefined where it cannot be read. */
export async function procNet(
  file: string,
  netns: string | undefined,
): Promise<string | undefined> {
  const found = await readProcNet(file, netns);
  return typeof found === 'string' ? found : undefined;
}

/**
 * Kernel parameters below /proc/sys/net; what is not there is left out.
 * @throws NfqClusterError `ERR_NO_NETNS`, `ERR_PRIVILEGE`, `ERR_SYSTEM`
 */
export async function readSysctls(
  names: readonly string[],
  netns: string | undefined,
): Promise<Partial<Record<string, string>>> {
  const paths = names.map((name) => `/proc/sys/net/${name}`);
  const values = await read(paths, netns);
  return Object.fromEntries(
    names.flatMap((name, at) => {
      const value = values[at]!;
      return typeof value === 'string' ? [[name, value.replace(/\n$/, '')]] : [];
    }),
  );
}

/**
 * Sets a kernel parameter below /proc/sys/net.
 * @returns an errno, 0 if it worked
 * @throws NfqClusterError as `readSysctls`
 */
export const writeSysctl = async (
  name: string,
  value: string,
  netns: string | undefined,
): Promise<number> => (await write([name], `${value}\n`, netns))[0]!;

/** Whether each can be opened for writing, which does not change it: an errno, 0 if it can. */
export const tryWriting = (
  names: readonly string[],
  netns: string | undefined,
): Promise<number[]> => write(names, '', netns);

async function write(
  names: readonly string[],
  text: string,
  netns: string | undefined,
): Promise<number[]> {
  const paths = names.map((name) => `/proc/sys/net/${name}`);
  try {
    return await native.writeFiles(netnsPath(netns), paths, text);
  } catch (error) {
    throw fromNative(error);
  }
}

/** @throws NfqClusterError `ERR_NO_NETNS`, `ERR_PRIVILEGE`, `ERR_SYSTEM` */
async function read(
  paths: readonly string[],
  netns: string | undefined,
): Promise<(string | number)[]> {
  try {
    return await native.readFiles(netnsPath(netns), paths);
  } catch (error) {
    throw fromNative(error);
  }
}
