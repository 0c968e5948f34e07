/* Which layer may know which: core <- linux <- addon, and one file that loads the addon; and what the public types know. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';

const root = path.resolve(import.meta.dirname, '../..');

/** Files at or below a folder, by their paths from the package's root. */
function filesIn(folder: string, pattern: RegExp): string[] {
  return readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => pattern.test(name))
    .map((name) => path.join(folder, name));
}

const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');

interface Include {
  file: string;
  header: string;
}

function includesOf(folder: string): Include[] {
  const includes = filesIn(folder, /\.(cc|h)$/).flatMap((file) =>
    [...read(file).matchAll(/^\s*#\s*include\s*[<"](.*?)[>"]/gm)].map(([, header]) => ({
      file,
      header: header!,
    })),
  );
  assert.ok(includes.length > 0, folder);
  return includes;
}

/** A header of the C++ library, which has no extension, but for what a pure core must not have. */
const isPure = (header: string): boolean =>
  /^[a-z_]+$/.test(header) &&
  !['chrono', 'thread', 'mutex', 'iostream', 'fstream', 'filesystem', 'cstdio', 'ctime'].includes(
    header,
  );

/** The kernel's numbers and structures, which need no system call. */
const KERNEL =
  /^linux\/(netfilter|netlink|if_ether|icmp|icmpv6|in|in6|netfilter\/(nfnetlink|nfnetlink_queue|nfnetlink_conntrack|nf_conntrack_common))(\.h)$/;

describe('native/core', () => {
  const own = filesIn('native/core', /\.h$/).map((file) => path.basename(file));

  test("includes itself, the pure part of the C++ library and the kernel's constants alone", () => {
    const wrong = includesOf('native/core').filter(
      ({ header }) => !own.includes(header) && !isPure(header) && !KERNEL.test(header),
    );
    assert.deepEqual(wrong, []);
  });

  test('calls neither the system nor Node, and prints nothing', () => {
    const forbidden =
      /::(socket|send|recv|poll|open|read|write|clock_gettime)\s*\(|\bnapi_|Napi::|printf|std::cerr|std::cout|\babort\(|\bthrow\b/;
    const wrong = filesIn('native/core', /\.(cc|h)$/).filter((file) => forbidden.test(read(file)));
    assert.deepEqual(wrong, []);
  });
});

describe('native/linux', () => {
  test('does not know Node', () => {
    const wrong = includesOf('native/linux').filter(({ header }) =>
      /napi|node|uv\.h|v8|addon/.test(header),
    );
    assert.deepEqual(wrong, []);
    const files = filesIn('native/linux', /\.(cc|h)$/);
    assert.deepEqual(
      files.filter((file) => /\bnapi_|Napi::/.test(read(file))),
      [],
    );
  });
});

describe('the whole package', () => {
  test('includes Node-API in native/addon alone', () => {
    const others = ['native/core', 'native/linux', 'test/native', 'test/fuzz'].flatMap(includesOf);
    assert.deepEqual(
      others.filter(({ header }) => /napi|node_api/.test(header)),
      [],
    );
    assert.ok(includesOf('native/addon').some(({ header }) => header === 'napi.h'));
  });

  test('is compiled with the same definitions by both builds', () => {
    const [, gyp] = /'defines': \[([^]*?)\]/.exec(read('binding.gyp'))!;
    const [, cmake] = /target_compile_definitions\(\s*nfq_cluster PRIVATE ([^)]*)\)/.exec(
      read('native/CMakeLists.txt'),
    )!;
    const defined = [...gyp!.matchAll(/^ *'(.*)',$/gm)].map(([, definition]) => definition!);
    assert.ok(defined.length > 0);
    // node-gyp defines the module's name by itself.
    const named = 'NODE_GYP_MODULE_NAME=nfq_cluster';
    assert.deepEqual(cmake!.trim().split(/\s+/).sort(), [...defined, named].sort());
  });

  test('lists every native source, and none twice', () => {
    const listed = read('native/sources.txt')
      .split('\n')
      .filter((line) => /^[a-z]/.test(line));
    const there = ['core', 'linux', 'addon'].flatMap((layer) =>
      filesIn(`native/${layer}`, /\.cc$/),
    );
    assert.deepEqual(listed.map((file) => `native/${file}`).sort(), there.sort());
  });

  test('loads the addon in src/native.ts alone', () => {
    const loads = /node-gyp-build|\.node['"`]|\bdlopen\b/;
    const files = filesIn('src', /\.ts$/).filter((file) => loads.test(read(file)));
    assert.deepEqual(files, ['src/native.ts']);
  });

  test('does not export the addon', () => {
    assert.doesNotMatch(read('src/index.ts'), /native/i);
  });
});

/** The modules that a declaration file refers to, itself or by others of this package. */
function referredTo(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  const text = readFileSync(file, 'utf8');
  for (const [, from] of text.matchAll(/(?:from|import\() ?'([^']+)'/g)) {
    if (!from!.startsWith('.')) seen.add(from!);
    else referredTo(path.join(path.dirname(file), from!.replace(/\.js$/, '.d.ts')), seen);
  }
  return seen;
}

test('the public types refer to no other package', () => {
  const index = path.join(root, 'dist/index.d.ts');
  const all = [...referredTo(index)];
  assert.ok(all.length > 20);
  assert.deepEqual(
    all.filter((name) => !path.isAbsolute(name) && !name.startsWith('node:')),
    [],
  );
});
