import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { Command } from 'commander';
import { withHashing, withPackets, withRules, withShare, type Flags } from '../../src/cli/flags.js';
import { checkOptions, toOptions } from '../../src/cli/options.js';
import {
  interfaceKey,
  maskedMark,
  nodes,
  numberList,
  numberRange,
  u32,
} from '../../src/cli/values.js';
import { resolveOptions } from '../../src/options/resolve.js';

const folder = mkdtempSync(join(tmpdir(), 'nfq-cluster-'));
after(() => rmSync(folder, { recursive: true }));

/** A configuration file with this content. */
function config(content: unknown): string {
  const file = join(folder, 'config.json');
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  return file;
}

const flags = (line: string): Flags => {
  const command = withRules(withPackets(withShare(withHashing(new Command('run')))));
  return command
    .exitOverride()
    .configureOutput({ writeErr: () => undefined })
    .parse(line.split(' '), { from: 'user' })
    .opts();
};

const optionsOf = (line: string) => toOptions(flags(line));

describe('a value behind a flag', () => {
  const wrong = { code: 'commander.invalidArgument' };

  it('is 32 bits in the spellings of iptables', () => {
    for (const [text, value] of [
      ['0', 0],
      ['10', 10],
      ['0xdeadbeef', 0xdeadbeef],
      ['0XA', 10],
      ['012', 10],
      ['4294967295', 0xffffffff],
    ] as const) {
      assert.equal(u32(text), value);
    }
    for (const text of [
      '',
      ' 1',
      '1 ',
      '-1',
      '+1',
      '1.5',
      '1e3',
      '08',
      '0x',
      '0x100000000',
      '4294967296',
      'one',
      '1_000',
      '0b1',
    ]) {
      assert.throws(() => u32(text), wrong, text);
    }
  });

  it('is a number, a range or a list', () => {
    assert.deepEqual(numberRange('3'), [3]);
    assert.deepEqual(numberRange('2-4'), [2, 3, 4]);
    assert.deepEqual(numberList('0-2,7,5-5'), [0, 1, 2, 7, 5]);
    for (const text of ['', '4-2', '1-2-3', '-', '1-', '0-70000', '1,2'])
      assert.throws(() => numberRange(text), wrong, text);
    for (const text of ['', ',', '1,', '1,,2', '1;2'])
      assert.throws(() => numberList(text), wrong, text);
  });

  it('is one node or several', () => {
    assert.equal(nodes('2'), 2);
    assert.deepEqual(nodes('2,1'), [2, 1]);
    assert.throws(() => nodes('1-2'), wrong);
  });

  it('is an interface, with its key or without', () => {
    assert.deepEqual(interfaceKey('eth1', undefined), [{ name: 'eth1' }]);
    assert.deepEqual(interfaceKey('eth2:destination', [{ name: 'eth1' }]), [
      { name: 'eth1' },
      { name: 'eth2', key: 'destination' },
    ]);
    for (const text of ['eth1:', 'eth1:src', 'eth1:source:destination'])
      assert.throws(() => interfaceKey(text, undefined), wrong, text);
  });

  it('is a mark under a mask', () => {
    assert.deepEqual(maskedMark('0x1/0xff'), { value: 1, mask: 255 });
    assert.deepEqual(maskedMark('0x6'), { value: 6, mask: 6 });
    for (const text of ['', '/1', '1/', '1/2/3'])
      assert.throws(() => maskedMark(text), wrong, text);
  });
});

describe('options from flags', () => {
  it('are nothing but what was given', () => {
    assert.deepEqual(optionsOf('--cluster-hash-seed 0xdeadbeef'), { hashSeed: 0xdeadbeef });
  });

  it("have the man page's example", () => {
    assert.deepEqual(
      optionsOf('--cluster-total-nodes 2 --cluster-local-node 1 --cluster-hash-seed 0xdeadbeef'),
      {
        totalNodes: 2,
        localNode: 1,
        hashSeed: 0xdeadbeef,
      },
    );
  });

  it('have all there is', () => {
    const line =
      '-i eth1 --interface eth2:destination -q 4-5 --queue-cpu-fanout --policy xt_cluster --buckets 64 --own 0-2,9 --cluster-hash-seed 7 --invert ' +
      '--action mark --mark 1/3 --multicast-bit 4 --decided-bit 8 --rules none --reinject repeat --name gw --netns blue ' +
      '--queue-length 100 --receive-buffer 65536 --gather 50 --busy-poll 60 --realtime 3 --without-helpers';
    assert.deepEqual(optionsOf(line), {
      interfaces: [{ name: 'eth1' }, { name: 'eth2', key: 'destination' }],
      queues: [4, 5],
      queueCpuFanout: true,
      policy: 'xt_cluster',
      buckets: 64,
      ownership: { buckets: [0, 1, 2, 9] },
      hashSeed: 7,
      invert: true,
      action: 'mark',
      marks: { owned: { value: 1, mask: 3 }, multicast: 4, decided: 8 },
      rules: 'none',
      reinject: 'repeat',
      name: 'gw',
      netns: 'blue',
      queueLength: 100,
      receiveBuffer: 65536,
      gather: 50,
      busyPoll: 60,
      realtime: 3,
      helpers: false,
    });
  });
});

describe('options from a file', () => {
  const classic = {
    interfaces: ['eth1'],
    hashSeed: 1,
    totalNodes: 3,
    localNodemask: 5,
    invert: true,
  };

  it('are taken as they are', () => {
    assert.deepEqual(optionsOf(`--config ${config(classic)}`), classic);
  });

  it('are overridden by flags', () => {
    assert.deepEqual(optionsOf(`--config ${config(classic)} --cluster-hash-seed 2 -i eth9`), {
      ...classic,
      hashSeed: 2,
      interfaces: [{ name: 'eth9' }],
    });
  });

  it('give way where a flag says the same by another name', () => {
    const { interfaces, hashSeed, totalNodes } = classic;
    assert.deepEqual(optionsOf(`--config ${config(classic)} --cluster-local-node 1`), {
      interfaces,
      hashSeed,
      totalNodes,
      localNode: 1,
    });
    assert.deepEqual(optionsOf(`--config ${config(classic)} --buckets 8 --own 1`), {
      interfaces,
      hashSeed,
      buckets: 8,
      ownership: { buckets: [1] },
    });
    const fine = { interfaces, hashSeed, buckets: 8, ownership: { buckets: [1] } };
    assert.deepEqual(
      optionsOf(`--config ${config(fine)} --cluster-total-nodes 2 --cluster-local-node 2`),
      { interfaces, hashSeed, totalNodes: 2, localNode: 2 },
    );
  });

  it('share out the marks', () => {
    const marks = { multicast: 1, decided: 2 };
    assert.deepEqual(optionsOf(`--config ${config({ marks })} --decided-bit 4`)['marks'], {
      multicast: 1,
      decided: 4,
    });
  });

  it('have marks that are checked though a flag gives another', () => {
    for (const marks of [5, null, []]) {
      const given = flags(`--config ${config({ ...classic, marks })} --mark 1`);
      assert.throws(() => checkOptions(given, () => resolveOptions(toOptions(given))), {
        exitCode: 2,
        message: /for marks but received (5|null|\[\])/,
      });
    }
  });

  it('that cannot be read are wrong use', () => {
    assert.throws(() => optionsOf(`--config ${join(folder, 'none')}`), {
      exitCode: 2,
      message: /cannot read the options of .*none: ENOENT/,
    });
    assert.throws(() => optionsOf(`--config ${config('{')}`), {
      exitCode: 2,
      message: /cannot read the options of .*JSON/,
    });
    assert.throws(() => optionsOf(`--config ${config([])}`), {
      exitCode: 2,
      message: /expected an object/,
    });
  });
});

describe('an error', () => {
  const failure = (line: string): unknown => {
    const given = flags(line);
    try {
      checkOptions(given, () => resolveOptions(toOptions(given)));
    } catch (error) {
      return (error as Error).message;
    }
    return undefined;
  };
  const good = '-i eth1 --cluster-total-nodes 2 --cluster-hash-seed 1';

  it('names the flag', () => {
    assert.equal(
      failure('-i eth1'),
      'Expected an integer from 0 to 0xffffffff for --cluster-hash-seed but received undefined. The option --cluster-hash-seed is mandatory.',
    );
    assert.equal(
      failure(`${good} --cluster-local-node 3`),
      'Expected at most 2 (--cluster-total-nodes) for --cluster-local-node but received 3',
    );
    assert.equal(
      failure(`${good} --cluster-local-nodemask 4`),
      'Expected a mask below 2^2 (--cluster-total-nodes) for --cluster-local-nodemask but received 4',
    );
    assert.equal(
      failure(`${good} --own 2`),
      'Expected buckets from 0 to 1 for --own but received [2]',
    );
    assert.equal(
      failure(`${good} --own 1 --queue-length 0`),
      'Expected an integer from 1 to 4294967295 for --queue-length but received 0',
    );
    assert.match(
      String(failure(`${good} --own 1 --queue-cpu-fanout`)),
      /^Expected false where there is one queue for --queue-cpu-fanout but received true\. /,
    );
    assert.match(
      String(failure('--cluster-total-nodes 2 --cluster-hash-seed 1')),
      /for --interface but received undefined/,
    );
    assert.match(
      String(failure('-i eth1 --cluster-hash-seed 1')),
      /^Expected either --cluster-total-nodes or --buckets for /,
    );
    assert.match(
      String(failure(good)),
      /^Expected exactly one of --cluster-local-node, --cluster-local-nodemask and --own for --cluster-local-node /,
    );
  });

  it("in a file's options names the option", () => {
    const given = flags(`--config ${config({ hashseed: 1 })}`);
    assert.throws(() => checkOptions(given, () => resolveOptions(toOptions(given))), {
      exitCode: 2,
      message: /hashSeed/,
    });
  });
});
