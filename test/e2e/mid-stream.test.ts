/* An engine owns nothing before its setup is whole: until then a reply in mid-stream makes a connection of its own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { apply, Hasher, open, type Options } from '../../src/index.js';
import { gateway, SERVER, SHARE, skip, source } from '../support/judged-gateway.js';
import { inject } from '../support/inject.js';
import { tcp } from '../support/packets.js';
import { waitFor } from '../support/processes.js';
import { counter } from '../support/state.js';

const { localNode: _any, ...HASHING } = SHARE;
const hasher = new Hasher(HASHING);
const owner = hasher.node(SERVER[4]);
const CLIENTS = Array.from({ length: 250 }, (_, index) => source(4, index)).filter(
  (address) => hasher.node(address) !== owner,
);

const SEEN = `table inet seen {
  counter passed { }
  counter came { }
  chain entering { type filter hook prerouting priority -400; tcp sport 7 counter name came; }
  chain passing { type filter hook forward priority 0; tcp sport 7 counter name passed; }
}`;

/** As one does whose connection it is: it answers by no reset. */
const SILENT =
  'table inet silent { chain c { type filter hook input priority 0; meta l4proto tcp drop; }; }';

const WAYS: Pick<Options, 'conntrack' | 'offload' | 'rules'>[] = [
  { conntrack: 'netlink' },
  { conntrack: 'netlink', rules: 'xtables' },
  { conntrack: 'mark' },
  { offload: ['flows'] },
  { offload: ['sources'] },
];

for (const way of WAYS) {
  test(`${JSON.stringify(way)} owns no reply that came while it opened`, { skip }, async () => {
    await using lab = await gateway();
    await lab.client.run('nft', [SILENT]);
    await lab.gateway.run('nft', ['-f', '-'], SEEN);
    const link = await lab.gateway.run('ip', ['link', 'show', 'inside']);
    const ethDst = /link\/ether (\S+)/.exec(link)![1]!;
    const replies = CLIENTS.map((dst) =>
      tcp({ src: SERVER[4], dst, sport: 7, flags: ['ack'], ack: 1, ethDst }),
    );
    const options = {
      ...HASHING,
      ...way,
      localNode: owner,
      interfaces: ['outside', 'inside'],
      netns: lab.gateway.path,
    };
    await apply(options);
    await lab.gateway.sysctl({ 'netfilter/nf_conntrack_tcp_loose': 1 });
    let opened = false;
    const send = async (): Promise<void> => {
      while (!opened) await inject(lab.server, 'eth0', replies, { rate: 5000 });
    };
    const sending = send();
    await using engine = await open({ rules: 'auto', ...options }).finally(() => (opened = true));
    await sending;
    await lab.gateway.run('nft', ['reset counters table inet seen']);
    const before = engine.stats();
    await inject(lab.server, 'eth0', replies);
    await waitFor('all replies', async () => {
      return (await counter(lab.gateway, 'seen', 'came')) === replies.length;
    });
    assert.equal(await counter(lab.gateway, 'seen', 'passed'), 0);
    assert.equal(engine.stats().owned, before.owned);
  });
}
