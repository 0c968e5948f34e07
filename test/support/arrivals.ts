import { inject } from './inject.js';
import { udp } from './packets.js';
import { waitFor } from './processes.js';
import { NODE, SENDER, type Wire } from './wire.js';

/** What got in, behind all rules. */
interface Arrived {
  /** IPv4 packets whose frame the node takes for its own. */
  host: number;
  /** IPv4 packets that it still takes for link-layer multicast or broadcast. */
  other: number;
  /** UDP source port and connmark of each, as `80 2`, ascending by port. */
  connmarks: string[];
}

const SENTINEL_PORT = 4242;
const TABLE = `table inet arrivals {
  counter host { }
  counter other { }
  counter sentinel { }
  set connmarks { type inet_service . mark; flags dynamic; size 65535; }
  chain behind {
    type filter hook input priority 100
    iifname != "eth0" return
    meta nfproto ipv6 udp dport ${SENTINEL_PORT} counter name sentinel
    meta nfproto ipv6 return
    meta pkttype host counter name host
    meta pkttype != host counter name other
    meta l4proto udp add @connmarks { udp sport . ct mark }
  }
}`;

/** Counts what gets into the node of a wire. */
export class Arrivals {
  readonly #wire: Wire;
  readonly #settled: () => boolean | Promise<boolean>;

  /** @param settled whether everything that was to be decided has been, once it stands in the queue */
  private constructor(wire: Wire, settled: () => boolean | Promise<boolean>) {
    this.#wire = wire;
    this.#settled = settled;
  }

  static async of(wire: Wire, settled: () => boolean | Promise<boolean>): Promise<Arrivals> {
    await wire.node.run('nft', ['-f', '-'], TABLE);
    return new Arrivals(wire, settled);
  }

  /** Sends frames, and behind them one over IPv6, which nothing holds back: once it is there, they are. */
  async of(...frames: readonly Buffer[]): Promise<Arrived> {
    const { sender, node } = this.#wire;
    // Not in one call: nft 1.1 does not reset what it lists together with other commands.
    await node.run('nft', ['reset', 'counters', 'table', 'inet', 'arrivals']);
    await node.run('nft', ['flush', 'set', 'inet', 'arrivals', 'connmarks']);
    const sentinel = udp({ src: SENDER.ipv6, dst: NODE.ipv6, dport: SENTINEL_PORT });
    await inject(sender, 'eth0', [...frames, sentinel]);
    await waitFor('the last frame', async () => count(await this.#listed(), 'sentinel') === 1);
    await waitFor('every decision', this.#settled);
    const listed = await this.#listed();
    return {
      host: count(listed, 'host'),
      other: count(listed, 'other'),
      connmarks: connmarks(listed),
    };
  }

  #listed(): Promise<string> {
    return this.#wire.node.run('nft', ['--numeric', 'list', 'table', 'inet', 'arrivals']);
  }
}

const count = (listed: string, name: string): number =>
  Number(new RegExp(`counter ${name} \\{\\s+packets (\\d+)`).exec(listed)![1]);

const connmarks = (listed: string): string[] =>
  [...listed.matchAll(/(\d+) \. 0x([0-9a-f]{8})/g)]
    .map(([, port, mark]) => [Number(port), parseInt(mark!, 16)] as const)
    .sort(([a], [b]) => a - b)
    .map(([port, mark]) => `${port} ${mark}`);
