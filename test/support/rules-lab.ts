import { spawnSync } from 'node:child_process';
import { Namespace } from '../../src/lab/namespaces.js';
import { findProgram } from '../../src/setup/exec.js';

/** Two network namespaces, a client and a node, on one wire. They end with the test process, however it ends. */
export interface Lab extends AsyncDisposable {
  /** Paths, as the option `netns` takes them. */
  client: string;
  node: string;
}

export const NODE4 = '10.77.0.2';
export const NODE6 = 'fd77::2';

/** The wire is `wire` on both sides; `other` of the node leads to the client as well. */
export async function lab(): Promise<Lab> {
  const [client, node] = await Promise.all([Namespace.create(), Namespace.create()]);
  const made: Lab = {
    client: client.path,
    node: node.path,
    [Symbol.asyncDispose]: async () => {
      await Promise.all([client.close(), node.close()]);
    },
  };
  wire(made, node.pid, 'wire', 77);
  wire(made, node.pid, 'other', 78);
  return made;
}

function wire({ client, node }: Lab, peer: number, name: string, net: number): void {
  sh(client, `ip link set lo up; ip link add ${name} type veth peer name ${name} netns ${peer}`);
  for (const [at, host] of [
    [client, 1],
    [node, 2],
  ] as const) {
    sh(
      at,
      `ip address add 10.${net}.0.${host}/24 dev ${name}
      ip address add fd${net}::${host}/64 dev ${name} nodad
      ip link set ${name} up; ip link set lo up`,
    );
  }
}

/** Runs a script in a namespace and gives its standard output. */
export function sh(netns: string, script: string): string {
  const { status, stdout, stderr } = spawnSync(
    'nsenter',
    [`--net=${netns}`, 'sh', '-e', '-c', script],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`${script}\nended with ${String(status)}: ${stderr}`);
  return stdout;
}

/** Runs JavaScript in a namespace; it ends by itself. */
function js(netns: string, script: string): string {
  const { status, stdout, stderr } = spawnSync(
    'nsenter',
    [`--net=${netns}`, process.execPath, '-e', script],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`${script}\nended with ${String(status)}: ${stderr}`);
  return stdout;
}

/** Sends datagrams from the client. */
export function send(at: Lab, address: string, port: number, count = 1): void {
  const family = address.includes(':') ? 'udp6' : 'udp4';
  js(
    at.client,
    `const s = require('dgram').createSocket('${family}');
    Promise.all(Array.from({ length: ${count} }, () => new Promise((sent) => s.send('x', ${port}, '${address}', sent)))).then(() => s.close())`,
  );
}

/** Everything that nft and both iptables show of a namespace, without counters, dates and what tells one run from another. */
export function rules(netns: string): string {
  const text = sh(
    netns,
    `nft list ruleset 2>/dev/null
    for program in iptables-legacy-save ip6tables-legacy-save; do if command -v $program >/dev/null; then $program; fi; done`,
  );
  return text
    .replace(/packets \d+ bytes \d+/g, 'packets _ bytes _')
    .replace(/\[\d+:\d+\]/g, '[_:_]')
    .replace(/\n?\tchain run-\S+ \{\n\t\}\n/g, '')
    .replace(/^#.*\n/gm, '');
}

/** The packets of a named counter in the table `inet probe`. */
export function counted(netns: string, counter: string): number {
  return Number(/packets (\d+)/.exec(sh(netns, `nft list counter inet probe ${counter}`))![1]);
}

/** Counters of the first and of the last look at a packet: a table of the tester's, in front of and behind ours. */
export function probe(at: Lab, early = '', late = ''): void {
  sh(
    at.node,
    `nft -f - <<END
    table inet probe {
      counter arrived { }
      counter passed { }
      counter expected { }
      chain first { type filter hook prerouting priority -310; iifname { "wire", "other" } meta l4proto { tcp, udp } counter name arrived; ${early} }
      chain last { type filter hook prerouting priority 10; iifname { "wire", "other" } meta l4proto { tcp, udp } counter name passed; ${late} }
    }
END`,
  );
}

/** Opens a TCP connection to a closed port and says how that ends. */
export function connect(at: Lab, address: string): string {
  return js(
    at.client,
    `const s = require('net').connect(7, '${address}').on('error', (e) => console.log(e.code)).setTimeout(700, () => { console.log('timeout'); s.destroy() })`,
  ).trim();
}

/** Waits until a condition holds; fails after a minute. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`not within a minute: ${what}`);
    await new Promise((resume) => setTimeout(resume, 20));
  }
}

/** Why rules cannot be tested here, or false. */
export async function cannotTest(): Promise<string | false> {
  if (process.getuid?.() !== 0) return 'needs root';
  for (const program of ['ip', 'nft', 'nsenter', 'unshare']) {
    if ((await findProgram(program)) === undefined) return `needs ${program}`;
  }
  return false;
}
