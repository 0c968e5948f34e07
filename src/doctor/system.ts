import { constants } from 'node:os';
import { CAP_NET_ADMIN, CAP_SYS_ADMIN, hasCapability } from '../setup/capabilities.js';
import { error, given, ok, skipped, warning, type Judged } from './finding.js';
import type { DoctorFacts } from './facts.js';

/** The programs that are called. */
export const checkPrograms = ({ programs }: DoctorFacts): Judged[] => {
  const missing = programs.flatMap(({ name, missing: from }) =>
    from === undefined
      ? []
      : [
          error('programs', `The program ${name} is not installed`, {
            remedy: `Install the package ${from} (Debian, Fedora, Alpine)`,
          }),
        ],
  );
  const names = programs.map(({ name }) => name).join(', ');
  return missing.length > 0 ? missing : [ok('programs', `All are installed: ${names}`)];
};

/** CAP_NET_ADMIN; to enter a namespace also CAP_SYS_ADMIN. */
export const checkPrivileges = ({ capabilities, netns }: DoctorFacts): Judged[] =>
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
    return [ok('privileges', 'CAP_NET_ADMIN')];
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
      return [ok('conntrack', 'The kernel tracks connections')];
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

/** Below /proc/sys/net, and there only where connections are tracked. */
export const CONNTRACK = 'netfilter/nf_conntrack_max';
