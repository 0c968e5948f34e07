import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { DoctorFacts } from '../../src/doctor/facts.js';
import { chain, marking, named, ofXtables, rule, wrong } from './diagnosed.js';

describe('doctor, of rules of iptables', () => {
  it('finds both of the decisions that it replaces', () => {
    const cluster = '-A INPUT -m cluster --cluster-local-nodemask 0x00000001 -j DROP';
    const found = ofXtables('*filter', '-A INPUT -j ACCEPT', cluster, 'COMMIT');
    assert.deepEqual(named(found), ['error -m cluster']);
    assert.equal(found[0]!.command, 'iptables-nft -t filter -D INPUT 2');
    const ip = '-A INPUT -d 192.0.2.10/32 -i eth0 -j CLUSTERIP --new';
    assert.deepEqual(named(ofXtables('*filter', ip)), ['error -j CLUSTERIP']);
    const comment = '-A INPUT -m comment --comment "-m cluster" -j ACCEPT';
    assert.deepEqual(ofXtables('*filter', comment), []);
  });

  it('finds what stands before our rule in mangle, or takes packets from tracking', () => {
    const ours = '-A PREROUTING -j nfq-cluster-q0';
    const other = '-A PREROUTING -s 192.0.2.1/32 -j ACCEPT';
    assert.deepEqual(named(ofXtables('*mangle', other, ours)), ['error rule order']);
    assert.deepEqual(ofXtables('*mangle', ours, other), []);
    assert.deepEqual(named(ofXtables('*raw', '-A PREROUTING -j CT --notrack')), ['error notrack']);
    assert.deepEqual(named(ofXtables('*raw', '-A PREROUTING -j NOTRACK')), ['error notrack']);
    assert.deepEqual(ofXtables('*raw', '-A PREROUTING -i eth1 -j NOTRACK'), []);
    assert.deepEqual(named(ofXtables('*raw', '-A PREROUTING ! -i eth1 -j NOTRACK')), [
      'error notrack',
    ]);
    assert.deepEqual(ofXtables('*raw', '-A OUTPUT -j NOTRACK'), []);
  });

  it('finds conntrack zones, in which ctnetlink is not asked', () => {
    for (const zone of ['--zone 5', '--zone-orig mark', '--zone-reply 5'])
      assert.deepEqual(named(ofXtables('*raw', `-A PREROUTING -j CT ${zone}`)), ['warning zones']);
    assert.deepEqual(ofXtables('*raw', '-A OUTPUT -j CT --zone 5'), []);
  });

  it('finds what drops in raw: a rule, also behind a jump, and the policy', () => {
    const drop = ['-A x -j DROP', '-A y -j x'];
    assert.deepEqual(named(ofXtables('*raw', ...drop, '-A PREROUTING -j y')), [
      'warning iptables rules',
    ]);
    assert.deepEqual(ofXtables('*raw', ...drop, '-A OUTPUT -j y', '-A y -j y'), []);
    const chains = [':OUTPUT ACCEPT [0:0]', ':PREROUTING DROP [0:0]'];
    assert.deepEqual(named(ofXtables('*raw', ...chains)), ['warning iptables rules']);
    assert.deepEqual(ofXtables('*raw', ':PREROUTING ACCEPT [0:0]', '*nat', ...chains), []);
  });

  it('deletes the last rule of a chain first, as numbers change behind one that is gone', () => {
    const rule = '-A PREROUTING -j NFQUEUE --queue-num 0';
    assert.deepEqual(
      ofXtables('*raw', rule, rule).map(({ command }) => command),
      ['iptables-nft -t raw -D PREROUTING 2', 'iptables-nft -t raw -D PREROUTING 1'],
    );
  });

  it('deletes what drops the unmarked before the cluster matches that mark', () => {
    const match = '-m cluster --cluster-total-nodes 2 --cluster-local-node 1';
    const mark = `-A PREROUTING -i eth0 ${match} -j MARK --set-xmark 0xffff/0xffffffff`;
    const drop = '-m mark ! --mark 0xffff -j DROP';
    const commands = (...lines: string[]): (string | undefined)[] =>
      ofXtables(...lines).map(({ command }) => command);
    assert.deepEqual(commands('*mangle', mark, mark, `-A PREROUTING -i eth0 ${drop}`), [
      'iptables-nft -t mangle -D PREROUTING 3',
      'iptables-nft -t mangle -D PREROUTING 2',
      'iptables-nft -t mangle -D PREROUTING 1',
    ]);
    assert.deepEqual(commands('*filter', `-A FORWARD ${drop}`, 'COMMIT', '*mangle', mark), [
      'iptables-nft -t filter -D FORWARD 1',
      'iptables-nft -t mangle -D PREROUTING 1',
    ]);
    const filter = '-A FORWARD -m mark --mark 0x0/0xff -j DROP';
    assert.deepEqual(commands('*filter', filter, 'COMMIT', '*mangle', mark), [
      'iptables-nft -t filter -D FORWARD 1',
      'iptables-nft -t mangle -D PREROUTING 1',
    ]);
    const other = ['-A FORWARD -m mark --mark 0x1 -j DROP', '-A INPUT -m mark ! --mark 0 -j DROP'];
    assert.deepEqual(commands('*filter', ...other, 'COMMIT', '*mangle', mark), [
      'iptables-nft -t mangle -D PREROUTING 1',
    ]);
  });

  it('deletes a rule once that is wrong in two ways', () => {
    const mark = '-A PREROUTING -m cluster -j MARK --set-xmark 0xffff/0xffffffff';
    const found = ofXtables('*mangle', mark, '-A PREROUTING -j nfq-cluster-q0');
    assert.deepEqual(named(found), ['error -m cluster']);
  });

  it('finds what drops by a mark that nothing sets any more', () => {
    const drop = '-A PREROUTING -i eth0 -m mark ! --mark 0xffff -j DROP';
    const found = ofXtables('*mangle', drop);
    assert.deepEqual(named(found), ['error iptables rules']);
    assert.equal(found[0]!.command, 'iptables-nft -t mangle -D PREROUTING 1');
    const set = '-A PREROUTING -j MARK --set-xmark 0xffff/0xffff';
    assert.deepEqual(ofXtables('*mangle', set, drop), []);
    assert.deepEqual(ofXtables('*mangle', '-A PREROUTING -j CONNMARK --restore-mark', drop), []);
    const cleared = '-A PREROUTING -j MARK --set-xmark 0x0/0xffff';
    assert.deepEqual(named(ofXtables('*mangle', cleared, drop)), ['error iptables rules']);
    assert.deepEqual(ofXtables('*mangle', drop.replace('eth0', 'eth1')), []);
    const text = `*mangle\n${drop}`;
    const xtables: DoctorFacts['xtables'] = {
      known: [{ program: 'iptables-nft', family: 'ip', legacy: false, text }],
    };
    assert.deepEqual(wrong({ ...marking, xtables }), []);
    const value = { mangle: { key: { meta: { key: 'mark' } }, value: 0xffff } };
    assert.deepEqual(wrong({ nft: { known: [chain('output'), rule([value])] }, xtables }), []);
  });

  it('finds marks that collide with ours', () => {
    const mark = (value: string): string => `-A PREROUTING -j MARK --set-xmark ${value}`;
    const found = ofXtables('*raw', mark('0x80000000/0xffffffff'));
    assert.deepEqual(named(found), ['warning marks']);
    const flags = /--mark, --multicast-bit, --decided-bit, --direct-bit and --bucket-bits/;
    assert.match(found[0]!.remedy!, flags);
    assert.deepEqual(ofXtables('*raw', mark('0x1/0xff')), []);
  });
});
