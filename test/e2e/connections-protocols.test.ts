/* The kernel's match and the engine on frames made by hand: SCTP, SIP's media, and what has no connection. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { range } from '../../src/options/buckets.js';
import type { Namespace } from '../../src/lab/namespaces.js';
import {
  engineOn,
  gateway,
  SERVER,
  skip,
  source,
  SOURCES_OF_TRUTH,
  type Class,
  type Gateway,
  type Judgement,
} from '../support/judged-gateway.js';
import { inject } from '../support/inject.js';
import {
  fragments,
  ip,
  sctp,
  tcp,
  udp,
  unreachable,
  type Ends,
  type Ports,
  type Segment,
} from '../support/packets.js';
import { waitFor } from '../support/processes.js';

const COUNT = 24;
const FAMILIES = [4, 6] as const;
const SIP = 5060;
const MEDIA = 4000;

async function macOf(node: Namespace, name: string): Promise<string> {
  return /link\/ether (\S+)/.exec(await node.run('ip', ['link', 'show', name]))![1]!;
}

interface Frames {
  /** From each client to the server, and from the server to each client. */
  there: (make: (ends: Ports) => Buffer, ports: Pick<Ports, 'sport' | 'dport'>) => Buffer[];
  back: (make: (ends: Ports) => Buffer, ports: Pick<Ports, 'sport' | 'dport'>) => Buffer[];
}

async function framesFor({ gateway: node }: Gateway): Promise<Frames> {
  const [outside, inside] = await Promise.all([macOf(node, 'outside'), macOf(node, 'inside')]);
  const pairs = FAMILIES.flatMap((family) =>
    Array.from({ length: COUNT }, (_, index) => [source(family, index), SERVER[family]] as const),
  );
  return {
    there: (make, ports) =>
      pairs.map(([src, dst]) => make({ src, dst, ethDst: outside, ...ports })),
    back: (make, ports) => pairs.map(([dst, src]) => make({ src, dst, ethDst: inside, ...ports })),
  };
}

/** Moves the judge behind what was put before it. */
async function toTheEnd(node: Namespace): Promise<void> {
  const move = '*mangle\n-D PREROUTING -j judge\n-A PREROUTING -j judge\nCOMMIT\n';
  for (const program of ['iptables-restore', 'ip6tables-restore']) {
    await node.run(program, ['--noflush', '-w', '10'], move);
  }
}

/** Sends what begins connections from the server, and waits until as many more were judged. */
async function sent(lab: Gateway, frames: readonly Buffer[]): Promise<Record<Class, Judgement>> {
  const begun = seen((await lab.judged()).new);
  await inject(lab.server, 'eth0', frames, { rate: 5000 });
  await waitFor('all are judged', async () => {
    const { new: fresh, related } = await lab.judged();
    return seen(fresh) + seen(related) >= begun + frames.length;
  });
  return lab.judged();
}

const seen = ({ both, neither, kernelOnly, engineOnly }: Judgement): number =>
  both + neither + kernelOnly + engineOnly;

/** Sends frames, and waits until as many packets of a class have been judged. */
async function send(
  lab: Gateway,
  from: 'client' | 'server',
  frames: readonly Buffer[],
  name: Class,
): Promise<Judgement> {
  await inject(lab[from], 'eth0', frames, { rate: 5000 });
  await waitFor(`${frames.length} ${name}`, async () => {
    return seen((await lab.judged())[name]) >= frames.length;
  });
  return (await lab.judged())[name];
}

/** Both judges say the same of every packet, and own some, not all. */
function assertShared({ both, neither, ...disputed }: Judgement): void {
  assert.deepEqual(disputed, { kernelOnly: 0, engineOnly: 0 });
  assert.ok(both > 0 && neither > 0, `both ${both}, neither ${neither}`);
}

const GRE = 47;

/** What PPTP carries a call's frames in: version 1 of GRE, with a key, a length and a call. */
const pptp = (ends: Ends): Buffer => ip(ends, GRE, Buffer.from('2001880b00000007', 'hex'));

const DATA = 4001;

const USER = (): Partial<Segment> => ({
  flags: ['psh', 'ack'],
  seq: 2,
  ack: 2,
  payload: 'USER a\r\n',
});

/** A client's next command, by which the server is to open a data connection to it. */
function active({ src }: Ends): Partial<Segment> {
  const command = src.includes(':')
    ? `EPRT |2|${src}|${DATA}|`
    : `PORT ${src.replaceAll('.', ',')},${DATA >> 8},${DATA & 0xff}`;
  return { flags: ['psh', 'ack'], seq: 10, ack: 2, payload: `${command}\r\n` };
}

const invitation = ({ src, dst }: Ports): string => {
  const family = src.includes(':') ? 'IP6' : 'IP4';
  const host = (address: string): string => (family === 'IP6' ? `[${address}]` : address);
  const body = [
    'v=0',
    `o=a 1 1 IN ${family} ${src}`,
    's=-',
    `c=IN ${family} ${src}`,
    't=0 0',
    `m=audio ${MEDIA} RTP/AVP 0`,
    '',
  ].join('\r\n');
  return [
    `INVITE sip:b@${host(dst)} SIP/2.0`,
    `Via: SIP/2.0/UDP ${host(src)}:${SIP};branch=z9hG4bK1`,
    `From: <sip:a@${host(src)}>;tag=1`,
    `To: <sip:b@${host(dst)}>`,
    `Call-ID: 1@${host(src)}`,
    'CSeq: 1 INVITE',
    `Contact: <sip:a@${host(src)}:${SIP}>`,
    'Content-Type: application/sdp',
    `Content-Length: ${body.length}`,
    '',
    body,
  ].join('\r\n');
};

/** Has the gateway's kernel follow SIP. */
async function assignSip({ gateway: node }: Gateway): Promise<void> {
  const rule = `*raw\n-A PREROUTING -p udp --dport ${SIP} -j CT --helper sip\nCOMMIT\n`;
  for (const program of ['iptables-restore', 'ip6tables-restore']) {
    await node.run(program, ['--noflush', '-w', '10'], rule);
  }
}

/** Each client invites the server, which is to send media back. */
const invitations = ({ there }: Frames): Buffer[] =>
  there((ends) => udp({ ...ends, payload: invitation(ends) }), { sport: SIP, dport: SIP });

const media = ({ back }: Frames): Buffer[] => back(udp, { sport: 6000, dport: MEDIA });

describe('the engine agrees with the kernel on frames of', { skip }, () => {
  for (const conntrack of SOURCES_OF_TRUTH) {
    test(`SCTP: conntrack ${conntrack}`, async () => {
      await using lab = await gateway();
      await using _engine = await engineOn(lab, { conntrack });
      await lab.judge();
      const { there, back } = await framesFor(lab);
      const inits = there((ends) => sctp({ ...ends, kind: 'init' }), { sport: 5000, dport: 9 });
      assertShared(await send(lab, 'client', inits, 'new'));
      const answers = back((ends) => sctp({ ...ends, kind: 'init ack' }), {
        sport: 9,
        dport: 5000,
      });
      assertShared(await send(lab, 'server', answers, 'reply'));
    });

    test(`ICMP errors about first fragments: conntrack ${conntrack}`, async () => {
      await using lab = await gateway();
      await using _engine = await engineOn(lab, { conntrack });
      await lab.judge();
      const { there, back } = await framesFor(lab);
      const ports = { sport: 5000, dport: 9, payload: 'x'.repeat(40) };
      const lost = there(udp, ports);
      assertShared(await send(lab, 'client', lost, 'new'));
      const quoted = lost.map((frame) => fragments(frame, 24)[0]!).values();
      const errors = back((ends) => unreachable(quoted.next().value!, ends), {});
      assertShared(await send(lab, 'server', errors, 'related-reply'));
    });

    test(`ICMPv6 errors of kinds that nobody has defined: conntrack ${conntrack}`, async () => {
      await using lab = await gateway();
      await using _engine = await engineOn(lab, { conntrack });
      await lab.judge();
      const { there, back } = await framesFor(lab);
      const lost = there(udp, { sport: 5000, dport: 9 });
      assertShared(await send(lab, 'client', lost, 'new'));
      const quoted = lost.values();
      const kind = { 4: [3, 3], 6: [100, 0] } as const;
      const errors = back((ends) => unreachable(quoted.next().value!, ends, kind), {});
      assertShared(await send(lab, 'server', errors, 'related-reply'));
    });

    test(`ICMP errors about PPTP's GRE: conntrack ${conntrack}`, async () => {
      await using lab = await gateway();
      await using _engine = await engineOn(lab, { conntrack });
      await lab.judge();
      const { there, back } = await framesFor(lab);
      const lost = there(pptp, {});
      assertShared(await send(lab, 'client', lost, 'new'));
      const quoted = lost.values();
      const errors = back((ends) => unreachable(quoted.next().value!, ends), {});
      assertShared(await send(lab, 'server', errors, 'related-reply'));
    });

    test(`a reset as the first answer, by which the kernel forgets the connection: conntrack ${conntrack}`, async () => {
      await using lab = await gateway();
      await using _engine = await engineOn(lab, { conntrack });
      await lab.judge();
      const { there, back } = await framesFor(lab);
      const begun = there(tcp, { sport: 5000, dport: 9 });
      assertShared(await send(lab, 'client', begun, 'new'));
      const refused = back((ends) => tcp({ ...ends, flags: ['rst', 'ack'], ack: 2 }), {
        sport: 9,
        dport: 5000,
      });
      assertShared(await send(lab, 'server', refused, 'reply'));
    });

    test(`a reset as the first answer to a data connection of FTP: conntrack ${conntrack}`, async () => {
      await using lab = await gateway();
      for (const program of ['iptables', 'ip6tables']) {
        const rule = '*raw\n-A PREROUTING -p tcp --dport 21 -j CT --helper ftp\nCOMMIT\n';
        await lab.gateway.run(`${program}-restore`, ['--noflush', '-w', '10'], rule);
      }
      await using _engine = await engineOn(lab, { conntrack });
      await lab.judge();
      const { there, back } = await framesFor(lab);
      const silent =
        'table inet t { chain c { type filter hook input priority 0; meta l4proto tcp drop; }; }';
      await Promise.all(
        [lab.client, lab.server].map((each) => each.run('nft', ['-f', '-'], silent)),
      );
      const control = { sport: 5000, dport: 21 };
      await send(lab, 'client', there(tcp, control), 'new');
      const accepted = back((ends) => tcp({ ...ends, flags: ['syn', 'ack'], ack: 2 }), {
        sport: 21,
        dport: 5000,
      });
      await send(lab, 'server', accepted, 'reply');
      // The helper reads what begins behind the end of a line.
      const asked = [USER, active].flatMap((command) =>
        there((ends) => tcp({ ...ends, ...command(ends) }), control),
      );
      await send(lab, 'client', asked, 'original');
      const data = back(tcp, { sport: 20, dport: DATA });
      assertShared(await send(lab, 'server', data, 'related'));
      const { reply: before } = await lab.judged();
      const refused = there((ends) => tcp({ ...ends, flags: ['rst', 'ack'], ack: 2 }), {
        sport: DATA,
        dport: 20,
      });
      await inject(lab.client, 'eth0', refused, { rate: 5000 });
      await waitFor('the resets', async () => {
        return seen((await lab.judged()).reply) >= seen(before) + refused.length;
      });
      assertShared((await lab.judged()).reply);
    });

    test(`media that SIP announced: conntrack ${conntrack}`, async () => {
      await using lab = await gateway();
      await assignSip(lab);
      await using _engine = await engineOn(lab, { conntrack });
      await lab.judge();
      const frames = await framesFor(lab);
      assertShared(await send(lab, 'client', invitations(frames), 'new'));
      assertShared(await send(lab, 'server', media(frames), 'related'));
    });

    test(`media that no helper was told of: conntrack ${conntrack}`, async () => {
      await using lab = await gateway();
      await using _engine = await engineOn(lab, { conntrack });
      await lab.judge();
      const frames = await framesFor(lab);
      const before = await send(lab, 'client', invitations(frames), 'new');
      assertShared(before);
      const { related, ...others } = await sent(lab, media(frames));
      assert.equal(seen(related), 0);
      // One server begins them all, so that they are of one node.
      const [shared, alone] = [others.new.both - before.both, others.new.neither - before.neither];
      assert.equal(shared + alone, 2 * COUNT);
      assert.deepEqual([others.new.kernelOnly, others.new.engineOnly], [0, 0]);
    });

    test(`connections older than the engine: conntrack ${conntrack}`, async () => {
      await using lab = await gateway();
      await lab.gateway.run('nft', [
        'table inet t { chain c { type filter hook prerouting priority 0; ct state new; }; }',
      ]);
      const { there, back } = await framesFor(lab);
      await lab.judge();
      const begun = there(udp, { sport: 5000, dport: 9 });
      await send(lab, 'client', begun, 'new');
      await using engine = await engineOn(lab, { conntrack });
      await toTheEnd(lab.gateway);
      assertShared(await send(lab, 'server', back(udp, { sport: 9, dport: 5000 }), 'reply'));
      assert.equal(engine.stats().unknown, 0);
    });

    test(`no connection, which nobody owns: conntrack ${conntrack}`, async () => {
      await using lab = await gateway();
      await lab.gateway.run(
        'nft',
        ['-f', '-'],
        'table inet first { chain raw { type filter hook prerouting priority raw; udp dport 99 notrack; }; }',
      );
      await using _engine = await engineOn(lab, { conntrack });
      await lab.judge();
      const { there } = await framesFor(lab);
      const untracked = there(udp, { sport: 5000, dport: 99 });
      const invalid = there((ends) => tcp({ ...ends, flags: ['ack'], seq: 7, ack: 9 }), {
        sport: 5000,
        dport: 9,
      });
      for (const [name, frames] of Object.entries({ untracked, invalid })) {
        // The server answers what is INVALID by resets that are so, too.
        const { neither, ...owned } = await send(lab, 'client', frames, name as Class);
        assert.deepEqual(owned, { both: 0, kernelOnly: 0, engineOnly: 0 }, name);
        assert.ok(neither >= frames.length, name);
      }
    });
  }

  test('connections begun in mid-stream, where the kernel picks them up', async () => {
    await using lab = await gateway();
    await using _engine = await engineOn(lab);
    await lab.gateway.sysctl({ 'netfilter/nf_conntrack_tcp_loose': 1 });
    await lab.judge();
    const { there } = await framesFor(lab);
    const middle = there((ends) => tcp({ ...ends, flags: ['ack'], seq: 7, ack: 9 }), {
      sport: 5000,
      dport: 9,
    });
    assertShared(await send(lab, 'client', middle, 'new'));
  });

  test('media that the kernel does not announce, of which none is owned in error', async () => {
    await using lab = await gateway();
    await lab.gateway.sysctl({ 'netfilter/nf_conntrack_events': 0 });
    await assignSip(lab);
    await using engine = await engineOn(lab, { conntrack: 'netlink' });
    await lab.judge();
    const frames = await framesFor(lab);
    assertShared(await send(lab, 'client', invitations(frames), 'new'));
    const { engineOnly } = await send(lab, 'server', media(frames), 'related');
    assert.equal(engineOnly, 0);
    assert.equal(engine.stats().unknown, 2 * COUNT, 'dropped, and counted');
  });

  test('media announced while packets are looked up all the time, which are counted', async () => {
    await using lab = await gateway();
    await assignSip(lab);
    await using engine = await engineOn(lab, { conntrack: 'netlink' });
    const frames = await framesFor(lab);
    const flows = range(40).map((index) => 1024 + index);
    const begun = flows.flatMap((sport) => frames.there(udp, { sport, dport: 9 }));
    await inject(lab.client, 'eth0', begun, { rate: 5000 });
    // Each is looked up anew after a second.
    const replies = flows.flatMap((dport) => frames.back(udp, { sport: 9, dport }));
    let ended = false;
    const replying = inject(lab.server, 'eth0', Array<Buffer[]>(4).fill(replies).flat(), {
      rate: replies.length,
    }).then(() => (ended = true));
    await waitFor('lookups', () => engine.stats().lookups > 0);
    await inject(lab.client, 'eth0', invitations(frames));
    await waitFor('all', () => engine.stats().expectations >= 2 * COUNT);
    assert.ok(!ended, 'not only when packets have ended');
    await replying;
  });
});
