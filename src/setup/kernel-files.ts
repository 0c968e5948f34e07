/* What the kernel tells of a network namespace in files below /proc. */
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

/** Kernel parameters below /proc/sys/net; what is not there is left out. */
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
