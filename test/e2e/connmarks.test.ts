/*
 * SIP's media inherits its bucket from the INVITE, and this from the REGISTER of the client that is called: the
 * connmarks that an engine finds when it opens, and how else the media are decided without connmarks.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { range } from '../../src/options/buckets.js';
import { findConnection, Hasher, type Tuple } from '../../src/index.js';
import type { Namespace } from '../../src/lab/namespaces.js';
import {
  engineOn,
  gateway,
  SERVER,
  SHARE,
  skip,
  source,
  SOURCES_OF_TRUTH,
  type Gateway,
} from '../support/judged-gateway.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { waitFor } from '../support/processes.js';
import { counter } from '../support/state.js';

const UDP = 17;
const SIP = 5060;
/** From where the server calls, and where it awaits media. */
const CALLER = 5061;
const MEDIA = 4000;

const CALLED = ([4, 6] as const).flatMap((family) =>
  range(8).map((index) => ({ client: source(family, index), server: SERVER[family] })),
);
type Called = (typeof CALLED)[number];

/** The flows of a call, the first the root. */
const FLOWS = {
  REGISTER: ({ client, server }: Called): Tuple => ({
    ...{ src: client, dst: server, protocol: UDP, sport: SIP, dport: SIP },
  }),
  INVITE: ({ client, server }: Called): Tuple => ({
    ...{ src: server, dst: client, protocol: UDP, sport: CALLER, dport: SIP },
  }),
  media: ({ client, server }: Called): Tuple => ({
    ...{ src: client, dst: server, protocol: UDP, sport: 6000, dport: MEDIA },
  }),
};

const host = (address: string): string => (address.includes(':') ? `[${address}]` : address);

function message(first: string, headers: readonly string[], body = ''): string {
  const all = [first, ...headers, `Content-Length: ${body.length}`, '', body];
  return all.join('\r\n');
}

const registration = ({ client, server }: Called): string[] => [
  `Via: SIP/2.0/UDP ${host(client)}:${SIP};branch=z9hG4bK1`,
  `From: <sip:a@${host(client)}>;tag=1`,
  `To: <sip:a@${host(server)}>`,
  `Call-ID: 1@${host(client)}`,
  'CSeq: 1 REGISTER',
  `Contact: <sip:a@${host(client)}:${SIP}>;expires=3600`,
];

function invitation({ client, server }: Called): string {
  const family = server.includes(':') ? 'IP6' : 'IP4';
  const media = [`c=IN ${family} ${server}`, 't=0 0', `m=audio ${MEDIA} RTP/AVP 0`, ''];
  const body = ['v=0', `o=b 1 1 IN ${family} ${server}`, 's=-', ...media].join('\r\n');
  const headers = [
    `Via: SIP/2.0/UDP ${host(server)}:${CALLER};branch=z9hG4bK2`,
    `From: <sip:b@${host(server)}>;tag=3`,
    `To: <sip:a@${host(client)}>`,
    `Call-ID: 2@${host(server)}`,
    'CSeq: 1 INVITE',
    `Contact: <sip:b@${host(server)}:${CALLER}>`,
    'Content-Type: application/sdp',
  ];
  return message(`INVITE sip:a@${host(client)}:${SIP} SIP/2.0`, headers, body);
}

/** Counts what arrives, which answers nothing. */
const SILENT = `table inet user {
  counter arrived { }
  chain arriving { type filter hook prerouting priority 0; meta l4proto udp counter name arrived drop; }
}`;

/** Sends a datagram of each call, and waits until the gateway has forwarded them. */
async function send(
  lab: Gateway,
  from: 'client' | 'server',
  flow: (called: Called) => Tuple,
  payload: (called: Called) => string,
): Promise<void> {
  const to = from === 'client' ? 'server' : 'client';
  const ethDst = await macOf(lab.gateway, from === 'client' ? 'outside' : 'inside');
  const frames = CALLED.map((called) => udp({ ...flow(called), ethDst, payload: payload(called) }));
  const before = await counter(lab[to], 'user', 'arrived');
  await inject(lab[from], 'eth0', frames, { rate: 5000 });
  await waitFor(`all to come to the ${to}`, async () => {
    return (await counter(lab[to], 'user', 'arrived')) >= before + frames.length;
  });
}

async function macOf(node: Namespace, name: string): Promise<string> {
  return /link\/ether (\S+)/.exec(await node.run('ip', ['link', 'show', name]))![1]!;
}

async function talk(lab: Gateway): Promise<void> {
  const answer = ({ client, server }: Called): Tuple => ({
    ...{ ...FLOWS.REGISTER({ client, server }), src: server, dst: client },
  });
  await send(lab, 'client', FLOWS.REGISTER, (called) =>
    message(`REGISTER sip:${host(called.server)} SIP/2.0`, registration(called)),
  );
  await send(lab, 'server', answer, (called) => message('SIP/2.0 200 OK', registration(called)));
  await send(lab, 'server', FLOWS.INVITE, invitation);
  await send(lab, 'client', FLOWS.media, () => 'x');
}

/** Fails unless each flow of a call has the called client's bucket, be the server's another. */
async function assertOfClients(lab: Gateway, hashSeed: number): Promise<void> {
  const { policy, totalNodes } = SHARE;
  const hasher = new Hasher({ policy, totalNodes, hashSeed });
  for (const [name, flow] of Object.entries(FLOWS)) {
    for (const called of CALLED) {
      const connection = await findConnection(flow(called), lab.gateway.path);
      assert.equal(connection!.master === null, name === 'REGISTER');
      assert.equal(connection!.mark >>> 16, hasher.node(called.client), `${name} ${called.client}`);
    }
  }
  for (const at of Object.values(SERVER)) {
    const calls = CALLED.filter(({ server }) => server === at);
    assert.ok(calls.some(({ client }) => hasher.node(client) !== hasher.node(at)));
  }
}

/** A gateway that follows SIP, between ends that answer nothing. */
async function sipGateway(): Promise<Gateway> {
  const lab = await gateway();
  for (const program of ['iptables-restore', 'ip6tables-restore']) {
    const rule = `*raw\n-A PREROUTING -p udp --dport ${SIP} -j CT --helper sip\nCOMMIT\n`;
    await lab.gateway.run(program, ['--noflush', '-w', '10'], rule);
  }
  await Promise.all([lab.client, lab.server].map((node) => node.run('nft', ['-f', '-'], SILENT)));
  return lab;
}

/** How many calls have a client that is owned here although the server is not, or the other way round. */
function apart(): number {
  const { localNode, ...hashing } = SHARE;
  const hasher = new Hasher(hashing);
  const isOwned = (address: string): boolean => hasher.node(address) === localNode;
  return CALLED.filter(({ client, server }) => isOwned(client) !== isOwned(server)).length;
}

describe('an engine that opens leaves to a call’s flows the bucket of the first', { skip }, () => {
  for (const [conntrack, offload = []] of [
    ['mark'],
    ['auto', ['flows']],
    ['auto', ['sources']],
  ] as const) {
    test(`conntrack ${[conntrack, ...offload].join(', offload ')}`, async () => {
      await using lab = await sipGateway();
      {
        await using _first = await engineOn(lab, { conntrack, offload });
        await talk(lab);
        await assertOfClients(lab, SHARE.hashSeed);
      }
      for (const hashSeed of [SHARE.hashSeed, SHARE.hashSeed + 1]) {
        await using _again = await engineOn(lab, { conntrack, offload, hashSeed });
        await assertOfClients(lab, hashSeed);
      }
    });
  }
});

describe('the media of a call to a registered client are decided', { skip }, () => {
  for (const [conntrack, offload = [], whose] of [
    ...SOURCES_OF_TRUTH.filter((way) => way !== 'mark').map((way) => [way, [], 'server'] as const),
    ['mark', [], 'client'],
    ['auto', ['flows'], 'client'],
    ['auto', ['sources'], 'client'],
  ] as const) {
    test(`by the ${whose}: conntrack ${[conntrack, ...offload].join(', offload ')}`, async () => {
      await using lab = await sipGateway();
      await using engine = await engineOn(lab, { conntrack, offload });
      await lab.judge();
      await talk(lab);
      const { related } = await lab.judged();
      const { both, neither, kernelOnly, engineOnly } = related;
      assert.equal(both + neither + kernelOnly + engineOnly, 2 * CALLED.length);
      assert.equal(kernelOnly + engineOnly, whose === 'server' ? 0 : apart());
      assert.ok(apart() > 0);
      assert.equal(engine.stats().unknown, 0);
    });
  }
});
