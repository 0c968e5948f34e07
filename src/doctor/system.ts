import { constants } from 'node:os';
import { CAP_NET_ADMIN, CAP_SYS_ADMIN, hasCapability } from '../setup/proc.js';
import { error, given, ok, skipped, warning, type Fact, type Judged } from './finding.js';
import type { SystemFacts } from '../setup/changes.js';
import type { DoctorFacts, Subject } from './facts.js';

/** The programs that are called. */
export const checkPrograms = ({ programs, links }: DoctorFacts): Judged[] => {
  const missing = programs.flatMap(({ name, missing: from }) =>
    from === undefined
      ? []
      : [
          error('programs', `The program ${name} is not installed`, {
            remedy: `Install the package ${from} (Debian, Fedora, Alpine)`,
          }),
        ],
  );
  if (missing.length > 0) return missing;
  // There is an ip, but none that serves.
  if ('unknown' in links && links.code === 'ERR_NO_TOOL') return [error('programs', links.unknown)];
  return [ok('programs', `All are installed: ${programs.map(({ name }) => name).join(', ')}`)];
};

/** CAP_NET_ADMIN, and that it counts here; to enter a namespace also CAP_SYS_ADMIN. */
export const checkPrivileges = ({ capabilities, mechanism, nft, netns }: DoctorFacts): Judged[] =>
  given('privileges', [capabilities], (all) => {
    if (!hasCapability(all, CAP_NET_ADMIN)) {
      return [
        error('privileges', 'This process does not have CAP_NET_ADMIN', {
          remedy: 'Run as root or with CAP_NET_ADMIN',
        }),
      ];
    }
    if (netns !== undefined && !hasCapability(all, CAP_SYS_ADMIN)) {
      return [
        error(
          'privileges',
          'This process does not have CAP_SYS_ADMIN, and so cannot enter --netns',
          {
            remedy: 'Run as root, or start in the network namespace',
          },
        ),
      ];
    }
    // nft 1.0.2 tells why it lists no rules, but not why it takes none.
    if ([mechanism, nft].some(isRefused)) return [withoutEffect()];
    return [ok('privileges', 'CAP_NET_ADMIN')];
  });

const isRefused = (fact: Fact<unknown>): boolean =>
  'unknown' in fact && fact.code === 'ERR_PRIVILEGE';

const withoutEffect = (): Judged =>
  error('privileges', 'This process has CAP_NET_ADMIN, but is refused what that permits', {
    remedy:
      'In a user namespace it counts only for network namespaces made there: give a rootless container one of its own, or run outside as root. Otherwise a seccomp filter or a security module forbids it',
  });

/** Whether the kernel queues packets to a process. */
export const checkNfqueue = ({ probe }: DoctorFacts): Judged[] =>
  given('NFQUEUE', [probe], ({ bind }) => judgeNfqueue(bind));

function judgeNfqueue(bind: number): Judged[] {
  const { EPERM, EACCES } = constants.errno;
  if (bind === 0) return [ok('NFQUEUE', 'The kernel queues packets to a process')];
  if (bind === EPERM || bind === EACCES) {
    return [skipped('NFQUEUE', 'Not known: not permitted to listen on a queue')];
  }
  return [
    error('NFQUEUE', `The kernel lets nobody listen on a queue: errno ${bind}`, {
      remedy: 'The kernel needs CONFIG_NETFILTER_NETLINK_QUEUE; where it is a module, load it',
      command: 'modprobe nfnetlink_queue',
    }),
  ];
}

/** Whether flows come with the packets. */
export const checkConntrackGlue = ({ probe }: DoctorFacts): Judged[] =>
  given(GLUE, [probe], ({ bind, conntrack }) => judgeGlue(bind, conntrack));

const GLUE = 'conntrack glue';

function judgeGlue(bind: number, conntrack: number): Judged[] {
  if (bind !== 0) return [skipped(GLUE, 'Not known: it takes a queue to find out')];
  if (conntrack === 0) return [ok(GLUE, 'The kernel attaches the connection to a queued packet')];
  if (conntrack !== constants.errno.EOPNOTSUPP) {
    return [skipped(GLUE, `Not known: the kernel answers errno ${conntrack}`)];
  }
  return [
    warning(GLUE, 'The kernel does not attach the connection to a queued packet', {
      remedy:
        'Nothing needs to be done if the engine may ask ctnetlink instead; a kernel with CONFIG_NETFILTER_NETLINK_GLUE_CT, as distributions have, saves it from asking',
    }),
  ];
}

/** By what packets come to the queue. */
export const checkMechanism = ({ mechanism }: DoctorFacts): Judged[] => {
  const check = 'queue rule';
  if ('unknown' in mechanism) {
    const { code, unknown } = mechanism;
    return [code === 'ERR_PRIVILEGE' ? skipped(check, unknown) : error(check, unknown)];
  }
  const { known } = mechanism;
  return [
    ok(
      check,
      known.kind === 'nft'
        ? "nft's queue statement"
        : known.kind === 'nft-compat'
          ? 'NFQUEUE in an nft chain; this kernel has no queue statement for nft'
          : `NFQUEUE of ${known.iptables}; this kernel has no queue statement for nft`,
    ),
  ];
};

export const checkJhash = ({ jhash }: DoctorFacts): Judged[] =>
  given('nft jhash', [jhash], (known) => [
    known
      ? ok('nft jhash', 'Nodes without the engine can make the same decisions by nft')
      : warning('nft jhash', 'This kernel has no jhash for nft', {
          remedy: 'To use rules of "export --to nft", run a kernel with CONFIG_NFT_HASH',
        }),
  ]);

/** Whether there are connections, where they are asked for. */
export const checkConntrack = ({ system, subjects }: DoctorFacts): Judged[] =>
  given('conntrack', [subjects, system], (all, { sysctls }) => {
    if (sysctls[CONNTRACK] !== undefined) {
      return [ok('conntrack', 'The kernel tracks connections'), ...untracked(all, sysctls)];
    }
    if (all.every(({ stateless, rules }) => stateless || !rules)) {
      return [
        skipped(
          'conntrack',
          'The kernel tracks no connections yet; rules that need it will start it',
        ),
      ];
    }
    return [
      error('conntrack', `There is no /proc/sys/net/${CONNTRACK}: no connection is tracked`, {
        command: 'modprobe nf_conntrack',
      }),
    ];
  });

/** IPVS takes the connection from packets that it passes on, unless it is asked to keep it. */
const untracked = (all: readonly Subject[], sysctls: SystemFacts['sysctls']): Judged[] =>
  sysctls[IPVS] !== '0' || all.every(({ stateless }) => stateless)
    ? []
    : [
        warning(
          'conntrack',
          'IPVS keeps the connections that it balances from being tracked: by TCP, all packets but the first are INVALID, and every node drops them',
          {
            remedy:
              'If IPVS balances what is for the cluster, have it keep them, or set conntrack to off',
            command: { program: 'sysctl', args: ['-w', 'net.ipv4.vs.conntrack=1'] },
          },
        ),
      ];

/** Below /proc/sys/net, and there only where the kernel has IPVS. */
export const IPVS = 'ipv4/vs/conntrack';

/** Below /proc/sys/net, and there only where connections are tracked. */
export const CONNTRACK = 'netfilter/nf_conntrack_max';
