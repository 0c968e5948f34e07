/* What programs print of rules, as a setup reads it. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import path from 'node:path';
import { describe, it, mock } from 'node:test';
import { CAP_NET_ADMIN, hasCapability, readCapabilities } from '../../src/setup/proc.js';
import { native } from '../../src/native.js';
import { isRefused, runForJson } from '../../src/setup/exec.js';
import { procNet, readProcNet, readSysctls } from '../../src/setup/kernel-files.js';
import { isEmptyMangle } from '../../src/setup/removal.js';
import { parseChains, parseComments, parseEmptied, parseSave } from '../../src/setup/traces.js';

it('a program that fails without a word was refused what only root may do', () => {
  const silent = { status: 1, stdout: '', stderr: '' };
  const of = process as { geteuid: () => number };
  const user = mock.method(of, 'geteuid', () => 1000);
  assert.ok(isRefused(silent));
  user.mock.mockImplementation(() => 0);
  const privileged = hasCapability(readCapabilities(), CAP_NET_ADMIN);
  assert.equal(isRefused(silent), !privileged);
  assert.ok(isRefused({ ...silent, stderr: 'Error: Could not process rule: Permission denied\n' }));
  assert.ok(!isRefused({ ...silent, stderr: 'Error: syntax error\n' }));
  user.mock.restore();
});

describe('what is read', () => {
  it('of iptables-save are our chain and our jump', () => {
    const saved = `*mangle\n:PREROUTING ACCEPT [9:9]\n:nfq-cluster-a - [0:0]\n:nfq-cluster-ab - [0:0]\n-A PREROUTING -j nfq-cluster-ab\n-A PREROUTING -j nfq-cluster-ab\nCOMMIT\n`;
    assert.deepEqual(parseSave(saved, 'nfq-cluster-a'), { chain: true, jumps: 0 });
    assert.deepEqual(parseSave(saved, 'nfq-cluster-ab'), { chain: true, jumps: 2 });
    assert.deepEqual(parseSave(saved, 'nfq-cluster'), { chain: false, jumps: 0 });
  });

  it('of nft list table are the chains', () => {
    assert.deepEqual(
      parseChains(
        'table inet t {\n\tset s {\n\t}\n\tchain a-b {\n\t\tdrop\n\t}\n\n\tchain c {\n\t}\n}\n',
      ),
      ['a-b', 'c'],
    );
  });

  it('of nft list table are the chains that have a hook and no rule', () => {
    const base = (name: string, rule = ''): string =>
      `\tchain ${name} {\n\t\ttype filter hook prerouting priority mangle - 2; policy accept;\n${rule}\t}\n`;
    assert.deepEqual(
      parseEmptied(
        `table inet t {\n\tchain marker {\n\t}\n\n${base('a')}\n${base('b', '\t\tdrop\n')}}\n`,
      ),
      ['a'],
    );
  });

  it('of nft list table are the comments in each chain', () => {
    assert.deepEqual(
      parseComments(
        'table inet t {\n\tset s {\n\t\tcomment "no rule"\n\t}\n\n\tchain a {\n\t\tcontinue comment "b } c"\n\t\tcounter\n\t\tcontinue comment "d"\n\t}\n\n\tchain e {\n\t}\n}\n',
      ),
      { a: ['b } c', 'd'], e: [] },
    );
  });

  it('of a table mangle is whether anybody uses it', () => {
    const base =
      '\tchain OUTPUT {\n\t\ttype route hook output priority mangle; policy accept;\n\t}\n';
    assert.ok(isEmptyMangle(`table ip mangle {\n${base}\n${base}}\n`));
    assert.ok(isEmptyMangle('table ip mangle {\n}\n'));
    assert.ok(!isEmptyMangle(`table ip mangle {\n${base.replace('accept', 'drop')}}\n`));
    assert.ok(!isEmptyMangle(`table ip mangle {\n${base}\tchain mine {\n\t}\n}\n`));
    assert.ok(!isEmptyMangle(`table ip mangle {\n\tset s {\n\t\ttype ipv4_addr\n\t}\n${base}}\n`));
    assert.ok(!isEmptyMangle(''));
  });

  it('as JSON is what it must be, or an error that says which program printed it', async () => {
    const read = (text: string): Promise<number[]> =>
      runForJson('count', 'printf', ['%s', text], undefined, (all: number[]) => [...all]);
    assert.deepEqual(await read('[1,2]'), [1, 2]);
    for (const text of ['', '1: lo\n    link  33:33:00:00:00:01\n', '[1,', '{}', 'null']) {
      await assert.rejects(read(text), {
        code: 'ERR_SYSTEM',
        message: /^Failed to count: cannot read what "printf %s [^]*" prints\. Install a later/,
      });
    }
  });
});

describe('of the kernel’s files', () => {
  it('all of each is read, or why it cannot be is told', async () => {
    const long = readFileSync(import.meta.filename, 'utf8');
    assert.ok(long.length > 4096, 'more than is read at once');
    const [text, missing] = await native.readFiles('', [import.meta.filename, '/nowhere']);
    assert.equal(text, long);
    assert.equal(missing, constants.errno.ENOENT);
    const [folder] = await native.readFiles('', ['/proc']);
    assert.equal(folder, constants.errno.EISDIR);
  });

  it('those of /proc/net are there or not', async () => {
    assert.match((await procNet('dev', undefined))!, /^ +lo:/m);
    assert.equal(await procNet('nowhere', undefined), undefined);
    assert.equal(await readProcNet('nowhere', undefined), constants.errno.ENOENT);
  });

  it('parameters are left out that the kernel does not have', async () => {
    const [there, not] = ['ipv4/ip_forward', 'ipv4/nowhere'];
    const value = readFileSync(`/proc/sys/net/${there}`, 'utf8').trim();
    assert.deepEqual(await readSysctls([there, not], undefined), { [there]: value });
  });

  it('none is read of a namespace that is not there', async () => {
    const netns = 'nfq-cluster-nowhere';
    await assert.rejects(procNet('dev', netns), { code: 'ERR_NO_NETNS' });
    await assert.rejects(readSysctls([], netns), { code: 'ERR_NO_NETNS' });
  });

  it('each is written by one call, or only tried', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'nfq-cluster-'));
    try {
      const [there, not] = [path.join(folder, 'there'), path.join(folder, 'not')];
      await writeFile(there, 'before');
      assert.deepEqual(await native.writeFiles('', [there, not], ''), [0, constants.errno.ENOENT]);
      assert.equal(readFileSync(there, 'utf8'), 'before');
      assert.deepEqual(await native.writeFiles('', [there, folder], 'after'), [
        0,
        constants.errno.EISDIR,
      ]);
      assert.equal(readFileSync(there, 'utf8'), 'aftere');
      assert.ok(!existsSync(not), 'none is made');
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('nothing else is taken for a list of them', () => {
    const { readFiles, writeFiles } = native as unknown as Record<
      'readFiles' | 'writeFiles',
      (...args: unknown[]) => unknown
    >;
    for (const args of [[], ['', '/proc'], [5, []], ['', ['a\0b']]]) {
      assert.throws(() => readFiles(...args), TypeError);
      assert.throws(() => writeFiles(...args, 'text'), TypeError);
    }
    assert.throws(() => writeFiles('', []), TypeError);
  });
});
