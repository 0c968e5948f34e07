/* What the system must have, and which package of which distribution brings it. */
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

// An ordinary user's PATH lacks the places where nft and iptables are.
const DIRECTORIES = [
  ...(process.env.PATH ?? '').split(':'),
  '/usr/local/sbin',
  '/usr/sbin',
  '/sbin',
];

/** Whether a program of this name can be run. */
export function hasProgram(name) {
  return DIRECTORIES.some((directory) => {
    try {
      accessSync(path.join(directory, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

const hasLibrary = (name) => spawnSync('pkg-config', ['--exists', name]).status === 0;

/** The packages of Fedora and Alpine are named only where they are not called as Debian's. */
const program = (name, debian, fedora = debian, alpine = debian) => ({
  name,
  packages: { Debian: debian, Fedora: fedora, Alpine: alpine },
  present: () => hasProgram(name),
});

const library = (name, ...packages) => ({
  ...program(name, ...packages),
  present: () => hasLibrary(name),
});

const compiler = {
  ...program('a C++ compiler', 'g++', 'gcc-c++', 'build-base'),
  present: () => (process.env.CXX ?? '') !== '' || hasProgram('g++'),
};

/** What each purpose needs; a purpose does not include another. */
const NEEDS = {
  compile: [
    compiler,
    program('make', 'make', 'make', 'build-base'),
    program('pkg-config', 'pkg-config', 'pkgconf-pkg-config', 'pkgconf'),
    library(
      'libnetfilter_queue',
      'libnetfilter-queue-dev',
      'libnetfilter_queue-devel',
      'libnetfilter_queue-dev linux-headers',
    ),
    library('libmnl', 'libmnl-dev', 'libmnl-devel'),
  ],
  'node-gyp': [program('python3', 'python3')],
  cmake: [program('cmake', 'cmake'), library('gtest', 'libgtest-dev', 'gtest-devel', 'gtest-dev')],
  run: [
    program('nft', 'nftables'),
    program('iptables', 'iptables', 'iptables-nft'),
    program('ip6tables', 'iptables', 'iptables-nft'),
    program('ip', 'iproute2', 'iproute'),
    program('nsenter', 'util-linux'),
  ],
  bench: [
    program('ethtool', 'ethtool'),
    program('iperf3', 'iperf3'),
    program('taskset', 'util-linux', 'util-linux', 'util-linux-misc'),
    program('valgrind', 'valgrind'),
  ],
  test: [
    program('tcpdump', 'tcpdump'),
    program('ping', 'iputils-ping', 'iputils'),
    program('curl', 'curl'),
    program('vsftpd', 'vsftpd'),
    program('sipp', 'sip-tester', 'sipp', 'sipp'),
    program('in.tftpd', 'tftpd-hpa', 'tftp-server', 'tftp-hpa'),
  ],
  lint: [program('clang-tidy', 'clang-tidy', 'clang-tools-extra', 'clang-extra-tools')],
};

/** The needs of these purposes that the system does not meet. */
export function missing(...purposes) {
  return purposes.flatMap((purpose) => NEEDS[purpose]).filter((need) => !need.present());
}

/** The packages of one distribution that meet the needs, each once. */
export function packagesOf(distribution, needs) {
  return [...new Set(needs.flatMap((need) => need.packages[distribution].split(' ')))].join(' ');
}

/** One line: what is missing, and the packages to install. */
export function explain(needs) {
  const packages = ['Debian', 'Fedora', 'Alpine']
    .map((distribution) => `${packagesOf(distribution, needs)} (${distribution})`)
    .join(' or ');
  return `missing ${needs.map(({ name }) => name).join(', ')}; install ${packages}.`;
}
