/*
 * Connections that the kernel's match knows, and `netlink` does not, as docs/connections.md says: none is owned in
 * error, and the other ways know them.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Options } from '../../src/index.js';
import type { Namespace } from '../../src/lab/namespaces.js';
import {
  engineOn,
  gateway,
  SERVER,
  skip,
  source,
  SOURCES_OF_TRUTH,
  type Gateway,
} from '../support/judged-gateway.js';
import { inject } from '../support/inject.js';
import { ip, tcp, udp, unreachable, type Ends, type Segment } from '../support/packets.js';
import { waitFor } from '../support/processes.js';

const COUNT = 12;
const PROTOCOL = { udp: 17, gre: 47, destinationOptions: 60 } as const;
const IPV6_AND_ETHERNET = 54;

const WAYS: Pick<Options, 'conntrack' | 'offload'>[] = [
  ...SOURCES_OF_TRUTH.map((conntrack) => ({ conntrack })),
  { offload: ['flows'] },
  { offload: ['sources'] },
];

/** The ends answer nothing. */
const SILENT = `table inet silent {
  chain leaving {
    type filter hook output priority 0
    meta l4proto { tcp, gre, icmp } drop
    icmpv6 type { destination-unreachable, parameter-problem } drop
  }
}`;

type Make = (ends: Ends, client: number) => Buffer;

/** Between each client and the server; each resolves once the gateway has judged all frames. */
interface Talk {
  there: (make: Make) => Promise<void>;
  back: (make: Make) => Promise<void>;
}

async function macOf(node: Namespace, name: string): Promise<string> {
  return /link\/ether (\S+)/.exec(await node.run('ip', ['link', 'show', name]))![1]!;
}

async function talk(lab: Gateway, family: 4 | 6): Promise<Talk> {
  await Promise.all([lab.client, lab.server].map((end) => end.run('nft', ['-f', '-'], SILENT)));
  const [outside, inside] = await Promise.all([
    macOf(lab.gateway, 'outside'),
    macOf(lab.gateway, 'inside'),
  ]);
  const clients = Array.from({ length: COUNT }, (_, index) => source(family, index));
  const server = SERVER[family];
  return {
    there: (make) =>
      send(
        lab,
        'client',
        clients.map((src, index) => make({ src, dst: server, ethDst: outside }, index)),
      ),
    back: (make) =>
      send(
        lab,
        'server',
        clients.map((dst, index) => make({ src: server, dst, ethDst: inside }, index)),
      ),
  };
}

async function send(lab: Gateway, from: 'client' | 'server', frames: Buffer[]): Promise<void> {
  const before = await judged(lab);
  await inject(lab[from], 'eth0', frames, { rate: 5000 });
  await waitFor('all to be judged', async () => (await judged(lab)) >= before + COUNT);
}

async function judged(lab: Gateway): Promise<number> {
  return Object.values(await lab.judged())
    .flatMap((outcomes) => Object.values(outcomes) as number[])
    .reduce((sum, packets) => sum + packets);
}

/** Judges what is said, of which so many packets are of connections that `netlink` does not find. */
async function assertKnown(
  way: (typeof WAYS)[number],
  unfound: number,
  converse: (lab: Gateway) => Promise<void>,
): Promise<void> {
  await using lab = await gateway();
  const helper = `*raw\n-A PREROUTING -p tcp --dport ${PPTP} -j CT --helper pptp\nCOMMIT\n`;
  await lab.gateway.run('iptables-restore', ['--noflush', '-w', '10'], helper);
  await using engine = await engineOn(lab, way);
  await lab.judge();
  await converse(lab);
  const all = Object.values(await lab.judged());
  const count = (outcome: 'both' | 'neither' | 'kernelOnly' | 'engineOnly'): number =>
    all.reduce((sum, each) => sum + each[outcome], 0);
  assert.equal(count('engineOnly'), 0);
  assert.ok(count('both') > 0 && count('neither') > 0);
  const netlink = way.conntrack === 'netlink';
  assert.equal(engine.stats().unknown, netlink ? unfound : 0);
  assert.equal(count('kernelOnly') > 0, netlink);
}

const PPTP = 1723;

/** A message of PPTP's control connection: its type, its length, and 16-bit fields behind the header. */
function control(type: number, length: number, ...fields: number[]): Buffer {
  const message = Buffer.alloc(length);
  message.writeUInt16BE(length, 0);
  message.writeUInt16BE(1, 2);
  message.writeUInt32BE(0x1a2b_3c4d, 4);
  message.writeUInt16BE(type, 8);
  fields.forEach((field, index) => message.writeUInt16BE(field, 12 + 2 * index));
  return message;
}

/** The numbers of a call, by which the two ends know it. */
const ofClient = (index: number): number => 100 + index;
const ofServer = (index: number): number => 200 + index;

/** Begins a call by each client, which makes the helper expect its GRE. */
async function begin({ there, back }: Talk): Promise<void> {
  const toServer = (make: (index: number) => Partial<Segment>): Promise<void> =>
    there((ends, index) => tcp({ ...ends, sport: 4000, dport: PPTP, ...make(index) }));
  const toClient = (make: (index: number) => Partial<Segment>): Promise<void> =>
    back((ends, index) => tcp({ ...ends, sport: PPTP, dport: 4000, ...make(index) }));
  const flags = ['psh', 'ack'] as const;
  await toServer(() => ({ seq: 1 }));
  await toClient(() => ({ seq: 1, ack: 2, flags: ['syn', 'ack'] }));
  await toServer(() => ({ seq: 2, ack: 2, flags, payload: control(1, 156, 0x100) }));
  await toClient(() => ({ seq: 2, ack: 158, flags, payload: control(2, 156, 0x100, 0x100) }));
  await toServer((index) => ({
    ...{ seq: 158, ack: 158, flags },
    payload: control(7, 168, ofClient(index)),
  }));
  await toClient((index) => ({
    ...{ seq: 158, ack: 326, flags },
    payload: control(8, 32, ofServer(index), ofClient(index), 0x100),
  }));
}

/** A frame of a call, with the number by which the receiver knows it. */
function gre(ends: Ends, call: number): Buffer {
  const payload = Buffer.from('3081880b00040000000000010000000061626364', 'hex');
  payload.writeUInt16BE(call, 6);
  return ip(ends, PROTOCOL.gre, payload);
}

/** A datagram behind extension headers of 256 bytes. */
function behindLongHeaders(ends: Ends, ports: { sport: number; dport: number }): Buffer {
  const options = Buffer.alloc(256);
  options.set([PROTOCOL.udp, options.length / 8 - 1, 1, 250]);
  const datagram = udp({ ...ends, ...ports }).subarray(IPV6_AND_ETHERNET);
  return ip(ends, PROTOCOL.destinationOptions, Buffer.concat([options, datagram]));
}

describe('what netlink does not find, and other ways know', { skip }, () => {
  for (const way of WAYS) {
    test(`GRE that PPTP's helper announced, ${JSON.stringify(way)}`, async () => {
      await assertKnown(way, 3 * COUNT, async (lab) => {
        const said = await talk(lab, 4);
        await begin(said);
        await said.there((ends, index) => gre(ends, ofServer(index)));
        await said.back((ends, index) => gre(ends, ofClient(index)));
        await said.there((ends, index) => gre(ends, ofServer(index)));
      });
    });

    test(`ports behind long headers of IPv6, ${JSON.stringify(way)}`, async () => {
      await assertKnown(way, 2 * COUNT, async (lab) => {
        const said = await talk(lab, 6);
        const asked = { sport: 5000, dport: 9 };
        const answer = (ends: Ends): Buffer =>
          behindLongHeaders(ends, { sport: asked.dport, dport: asked.sport });
        await said.there((ends) => udp({ ...ends, ...asked }));
        await said.back(answer);
        await said.there((ends) =>
          unreachable(answer({ ...ends, src: ends.dst, dst: ends.src }), ends),
        );
      });
    });
  }
});
