/* A network namespace, as the option `netns` names it. */

/** The path of a network namespace; empty for the process's own. */
export function netnsPath(netns: string | undefined): string {
  if (netns === undefined) return '';
  return netns.startsWith('/') ? netns : `/run/netns/${netns}`;
}

/** The same, with a path for the process's own, too. */
export const netnsFile = (netns: string | undefined): string =>
  netnsPath(netns) || '/proc/self/ns/net';
