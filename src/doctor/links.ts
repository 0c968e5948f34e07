/* Interfaces that have to do with ours: those above them, and the ports of a bridge. */
import type { DoctorFacts, Link } from './facts.js';
import { given, warning, type Judged } from './finding.js';

/** Below /proc/sys/net: whether rules see what bridges only forward, of each family. */
export const BRIDGED = ['bridge/bridge-nf-call-iptables', 'bridge/bridge-nf-call-ip6tables'];

/** VLANs, macvlans and such that take packets from our interfaces, and are not named. */
export const checkUpper = ({ subjects, links }: DoctorFacts): Judged[] =>
  given('interface', [subjects, links], (all, known) =>
    all.flatMap(({ interfaces }) =>
      known
        .filter(({ above = '' }) => interfaces.includes(above))
        .filter(({ name }) => !interfaces.includes(name))
        .map(({ name, above = '' }) =>
          warning(
            'interface',
            `${name} is on top of ${above}: packets for it arrive on ${name}, and are not decided`,
            { remedy: `Name ${name} as well if they are for the cluster` },
          ),
        ),
    ),
  );

/** Whether rules, ours among them, see what a bridge of ours only forwards between its ports. */
export const checkBridges = ({ subjects, links, system }: DoctorFacts): Judged[] =>
  given('bridge', [subjects, links, system], (all, known, { sysctls }) => {
    const everywhere = BRIDGED.some((name) => sysctls[name] === '1');
    return all.flatMap(({ interfaces, narrow }) =>
      known
        .filter(({ name }) => interfaces.includes(name) && !narrow.includes(name))
        .filter((link) => bridges(link, known) && (everywhere || link.bridgesByRules))
        .map(({ name }) => judgeBridge(name, everywhere)),
    );
  });

const bridges = ({ name, bridgesByRules }: Link, all: readonly Link[]): boolean =>
  bridgesByRules !== undefined && all.filter(({ portOf }) => portOf === name).length > 1;

const judgeBridge = (name: string, everywhere: boolean): Judged =>
  warning(
    'bridge',
    `What ${name} only forwards between its ports, such as to virtual machines, is decided as well`,
    {
      remedy: `If no rules need to see that (Docker's and Kubernetes' do), hide it from all rules; otherwise decide only what is for the cluster, by --destinations ${name}=addresses`,
      command: everywhere
        ? {
            program: 'sysctl',
            args: ['-w', ...BRIDGED.map((sysctl) => `net.${sysctl.replace('/', '.')}=0`)],
          }
        : {
            program: 'ip',
            args: `link set ${name} type bridge nf_call_iptables 0 nf_call_ip6tables 0`.split(' '),
          },
    },
  );
