/* What a rule says besides its hash, and what stands around it: nothing of it is passed over in silence. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { importRules } from '../../src/import/index.js';
import { noted, one } from './imported.js';

const CLUSTER = '-m cluster --cluster-total-nodes 3 --cluster-local-node 2 --cluster-hash-seed 1';
const MARK = '-j MARK --set-xmark 0x1/0x1';
const UNMARKED = '-m mark ! --mark 0x1/0x1 -j DROP';
const saved = (rules: readonly string[], table = 'mangle'): string =>
  [`*${table}`, ...rules.map((rule) => `-A PREROUTING ${rule}`), 'COMMIT', ''].join('\n');

const HASH = 'jhash ct original ip saddr mod 3 seed 0x1 offset 1';
const table = (rules: readonly string[], hook = 'hook prerouting priority mangle'): string =>
  `table inet x {\n\tchain p {\n\t\ttype filter ${hook}; policy accept;\n${rules
    .map((rule) => `\t\t${rule}\n`)
    .join('')}\t}\n}\n`;

function refuses(text: string, reason: RegExp): void {
  assert.deepEqual(importRules(text).configurations, [], text);
  assert.match(noted(text, 'refused').join('\n'), reason, text);
}

describe('a rule of iptables', () => {
  it('with two matches cluster is refused', () => {
    refuses(saved([`-i eth0 ${CLUSTER} ${CLUSTER} -j DROP`]), /two matches cluster/);
  });

  it('that does not see each packet with its connection is refused', () => {
    refuses(saved([`-i eth0 ${CLUSTER} -j ACCEPT`], 'nat'), /table nat sees only the first packet/);
    refuses(saved([`-i eth0 ${CLUSTER} -j DROP`], 'raw'), /table raw comes before/);
  });

  it('says so where a match without options narrows it', () => {
    for (const rule of [`-i eth0 -m socket ${CLUSTER}`, `${CLUSTER} -m socket -i eth0`]) {
      const text = saved([`${rule} -j DROP`]);
      assert.match(noted(text, 'not carried').join(), /^2: --match socket: an engine/);
    }
    const comment = saved([`${CLUSTER} -m comment --comment x -i eth0 -j DROP`]);
    assert.deepEqual(noted(comment, 'not carried'), []);
  });

  it('may have a comment that looks like an option, and a value without a space', () => {
    for (const comment of ['"!"', '-i', '-j', '"-m cluster"', '--cluster-local-node']) {
      const text = saved([`-m comment --comment ${comment} ${CLUSTER} -i eth0 -j DROP`]);
      assert.deepEqual(one(text)['interfaces'], ['eth0'], comment);
      assert.deepEqual(noted(text, 'not carried'), [], comment);
    }
    const text = `iptables -tmangle -APREROUTING -ieth0 -ptcp ${CLUSTER} -jDROP`;
    assert.deepEqual(one(text)['interfaces'], ['eth0']);
    assert.match(noted(text, 'not carried').join(), /--protocol tcp/);
    refuses(saved([`-i eth0 tcp ${CLUSTER} -j DROP`]), /Bad argument "tcp"/);
    const address = `-d 10.0.0.1/32 -i lo eth0 -j CLUSTERIP --new --hashmode sourceip --clustermac 01:AA:7B:47:F7:D7 --total-nodes 2 --local-node 1`;
    refuses(saved([address]), /Bad argument "eth0"/);
  });

  it('that is deleted or replaced is named', () => {
    for (const command of ['-D PREROUTING', '--replace PREROUTING 1']) {
      const text = `iptables ${command} -i eth0 ${CLUSTER} -j DROP`;
      assert.match(noted(text, 'not carried').join(), /deleted or replaced/);
    }
  });
});

describe('a DROP of what is not marked', () => {
  const action = (...rules: string[]): unknown => one(saved(rules))['action'];
  const marking = `-i eth0 ${CLUSTER} ${MARK}`;

  it('is the action only if it is for all packets, and stands behind', () => {
    assert.equal(action(marking, `-i eth0 ${UNMARKED}`), 'drop');
    assert.equal(action(`-i eth0 ${UNMARKED}`, marking), 'mark');
    assert.equal(action(marking, `-i eth0 -p udp ${UNMARKED}`), 'mark');
    assert.equal(action(marking, `-i eth0 -m socket ${UNMARKED}`), 'mark');
    const inserted = [`-i eth0 ${UNMARKED}`, marking].map(
      (rule) => `iptables -t mangle -I PREROUTING ${rule}`,
    );
    assert.equal(one(inserted.join('\n'))['action'], 'drop');
    assert.equal(one(inserted.reverse().join('\n'))['action'], 'mark');
  });

  it('says so where it also concerns other interfaces', () => {
    const text = saved([marking, marking, UNMARKED]);
    assert.deepEqual(noted(text, 'not carried'), [
      '4: the DROP also drops what arrives elsewhere without the mark',
    ]);
    assert.equal(one(text)['action'], 'drop');
  });
});

describe('a rule of nft', () => {
  it('before connection tracking is refused if it asks for the connection', () => {
    const rule = `iifname "eth0" ${HASH} != 2 drop`;
    for (const priority of ['raw', '-200', 'raw + 90', 'mangle - 60', '-2147483648']) {
      refuses(table([rule], `hook prerouting priority ${priority}`), /before connection tracking/);
    }
    for (const priority of ['mangle', '-199', 'raw + 110', 'dstnat', '0']) {
      assert.equal(one(table([rule], `hook prerouting priority ${priority}`))['localNode'], 2);
    }
    const own = table([rule.replace('ct original ', '')], 'hook prerouting priority raw');
    assert.equal(one(own)['conntrack'], 'off');
  });

  it('of type nat is refused, as it sees only first packets', () => {
    const nat = table([`iifname "eth0" ${HASH} != 2 drop`]).replace('type filter', 'type nat');
    refuses(nat, /first packet of a connection/);
  });

  it('in a bridge is refused, and elsewhere than in PREROUTING warned of', () => {
    const rule = `iifname "eth0" ${HASH} != 2 drop`;
    refuses(table([rule]).replace('inet', 'bridge'), /ports/);
    const forward = table([rule], 'hook forward priority 0');
    assert.match(noted(forward, 'warning').join(), /hook forward: decided in PREROUTING/);
    const jumped = `table inet x {\n\tchain q {\n\t\t${rule}\n\t}\n}\n`;
    assert.match(noted(jumped, 'warning').join(), /hook none: decided in PREROUTING/);
  });

  it('as which nft lists -m cluster is refused: its ! is lost, and a node is another', () => {
    for (const values of ['eq 1', '{ 0, 2 }']) {
      const listed = `iifname "eth0" jhash ct original saddr mod 3 seed 0x1 ${values} meta pkttype set host counter packets 0 bytes 0 drop`;
      refuses(table([listed]), /give the output of iptables-save/);
    }
  });

  it('whose hash in the mark is overwritten is refused', () => {
    const stored = `iifname "eth0" meta mark set ${HASH}`;
    const compared = 'iifname "eth0" meta mark != 2 drop';
    for (const between of ['meta mark set 1', 'iifname "eth0" meta mark set meta mark & 1']) {
      refuses(table([stored, between, compared]), /line 5 sets the mark again, before line 6/);
    }
    const others = ['ct mark set meta mark', 'iifname "eth1" meta mark set 1'];
    const six = stored.replace('ip saddr', 'ip6 saddr');
    assert.equal(one(table([stored, ...others, six, compared]))['localNode'], 2);
  });

  it('says so where the mark is compared on more interfaces', () => {
    const text = table([`iifname "eth0" meta mark set ${HASH}`, 'meta mark != 2 drop']);
    assert.match(noted(text, 'not carried').join(), /^5: the drop by the mark also holds/);
  });

  it('is for the interfaces that it names, not for what else follows iif', () => {
    for (const match of ['fib saddr . iif oif missing', 'iifname . ip protocol { "eth0" . udp }']) {
      const text = table([`${match} ${HASH} != 2 drop`]);
      assert.equal(one(text)['interfaces'], undefined, match);
      assert.ok(noted(text, 'not carried').join().includes(match), match);
    }
  });
});

it('one family alone is told of each interface', () => {
  const rules = ['ip', 'ip6'].map(
    (family, at) => `iifname "eth${at}" ${HASH.replace('ip', family)} != 2 drop`,
  );
  const warnings = noted(table(rules), 'warning').filter((text) => text.includes('alone'));
  assert.deepEqual(
    warnings.map((text) => /IPv\d/.exec(text)![0]),
    ['IPv4', 'IPv6'],
  );
});

describe('other rules of the chain are named', () => {
  it('in iptables', () => {
    const marking = `-i eth0 ${CLUSTER} ${MARK}`;
    for (const rule of [
      '-i eth0 -p tcp -m tcp --dport 22 -j ACCEPT',
      '-j RETURN',
      '-s 10.0.0.0/8 -j MARK --set-mark 1',
      '-i eth+ -g other',
      '-j CONNMARK --restore-mark',
    ]) {
      for (const rules of [
        [rule, marking],
        [marking, rule],
      ]) {
        const lost = noted(saved(rules), 'not carried').join();
        assert.match(lost, /stands in the same chain/, rule);
      }
    }
    for (const rule of [
      '-i eth1 -j ACCEPT',
      '-j LOG --log-prefix -j',
      '-i eth0 -j MARK --set-xmark 0x0/0x1',
      `-i eth0 -p igmp ${MARK}`,
      `-i eth0 ${UNMARKED}`,
    ]) {
      assert.deepEqual(noted(saved([marking, rule]), 'not carried'), [], rule);
    }
  });

  it('in nft', () => {
    const hashed = `iifname "eth0" ${HASH} != 2 drop`;
    for (const rule of ['tcp dport 22 accept', 'iifname "eth0" jump other', 'meta mark set 1']) {
      assert.match(noted(table([rule, hashed]), 'not carried').join(), /^4: .*the same chain/);
    }
    for (const rule of [
      'iifname "eth1" accept',
      'iifname != { "eth0" } return',
      'ip protocol igmp return',
      'icmpv6 type { 133, 134 } return',
      'ct state invalid,untracked drop',
      'meta pkttype multicast meta pkttype set host',
      'ct mark set 1',
      'counter packets 1 bytes 2 comment "accept"',
    ]) {
      assert.deepEqual(noted(table([rule, hashed]), 'not carried'), [], rule);
    }
    const policy = table([hashed]).replace('accept', 'drop');
    assert.match(noted(policy, 'not carried').join(), /policy drop;: stands in the same chain/);
  });

  it('but not thousands of them', () => {
    const rules = Array.from({ length: 1000 }, (_, at) => `ip saddr 10.0.0.${at} accept`);
    const lost = noted(table([...rules, `iifname "eth0" ${HASH} != 2 drop`]), 'not carried');
    assert.equal(lost.length, 21);
    assert.equal(lost[20], '24: and 980 more rules that stand beside those that hash');
  });
});
