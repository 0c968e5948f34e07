/* Interfaces that have to do with ours: those above them, and the ports of a bridge. */
import type { SystemFacts } from '../setup/changes.js';
import type { Command } from '../setup/exec.js';
import type { DoctorFacts, Link } from './facts.js';
import { error, given, warning, type Judged } from './finding.js';

/** Below /proc/sys/net: whether rules see what bridges only forward, of each family. */
const BRIDGED = ['bridge/bridge-nf-call-iptables', 'bridge/bridge-nf-call-ip6tables'];

/** The same of packets with a VLAN's tag, for both families. */
const TAGGED = 'bridge/bridge-nf-filter-vlan-tagged';

/** Whether rules see such a packet as one that enters by the VLAN's own interface. */
const BY_VLAN = 'bridge/bridge-nf-pass-vlan-input-dev';

/** All that is read of these. */
export const BRIDGE_SYSCTLS = [...BRIDGED, TAGGED, BY_VLAN];

/** The interfaces on which frames for this one arrive: the one below a VLAN, the ports of a bridge. */
export function carriers(name: string, links: readonly Link[]): string[] {
  const link = links.find((each) => each.name === name);
  const lower = links.filter(
    (each) =>
      (link?.vlan === true && each.name === link.above) ||
      (link?.bridgesByRules !== undefined && each.portOf === name),
  );
  return lower.flatMap((each) => [each.name, ...carriers(each.name, links)]);
}

/** The interfaces from which this one has its packets, itself first. */
function downwards(name: string, links: readonly Link[]): Link[] {
  const link = links.find((each) => each.name === name);
  if (link === undefined) return [];
  return [link, ...(link.above === undefined ? [] : downwards(link.above, links))];
}

/** A bridge that snoops looks up the address, which is no group's, and takes the frames for what routers alone want. */
export const checkSnooping = ({ subjects, links }: DoctorFacts): Judged[] =>
  given('bridge', [subjects, links], (all, known) => {
    const shared = all.flatMap(({ changes }) =>
      changes.filter(({ kind }) => kind === 'mac' || kind === 'group').map(({ on }) => on),
    );
    const bridges = shared.flatMap((name) => downwards(name, known)).filter((link) => link.snoops);
    return [...new Set(bridges.map(({ name }) => name))].map((name) =>
      warning(
        'bridge',
        `${name} snoops: once there is a querier in its network, nothing in frames for the cluster MAC reaches this machine`,
        {
          remedy: 'Have it take all multicast frames for this machine, or switch its snooping off',
          command: {
            program: 'ip',
            args: `link set ${name} type bridge mcast_router 2`.split(' '),
          },
        },
      ),
    );
  });

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
    const byRules = (link: Link): boolean => everywhere || link.bridgesByRules === true;
    return all.flatMap(({ interfaces, narrow }) => [
      ...known
        .filter(({ name }) => interfaces.includes(name) && !narrow.includes(name))
        .filter((link) => bridges(link, known) && byRules(link))
        .map(({ name }) => judgeBridge(name, hiding(name, everywhere))),
      ...interfaces.flatMap((name) => {
        const bridge = bridgeBelow(name, known, sysctls);
        if (bridge === undefined || !byRules(bridge)) return [];
        return [judgeAbove(name, bridge.name, hiding(bridge.name, everywhere))];
      }),
    ]);
  });

const bridges = ({ name, bridgesByRules }: Link, all: readonly Link[]): boolean =>
  bridgesByRules !== undefined && all.filter(({ portOf }) => portOf === name).length > 1;

/** The bridge from which an interface above it has packets that the bridge shows to rules, if asked to. */
function bridgeBelow(
  name: string,
  links: readonly Link[],
  sysctls: SystemFacts['sysctls'],
): Link | undefined {
  const seen = (link: Link): boolean =>
    link.vlan !== true ||
    (sysctls[TAGGED] === '1' && !(link.name === name && sysctls[BY_VLAN] === '1'));
  let link = links.find((each) => each.name === name);
  while (link?.above !== undefined && seen(link)) {
    const { above } = link;
    link = links.find((each) => each.name === above);
    if (link?.bridgesByRules !== undefined) return link;
  }
  return undefined;
}

const judgeBridge = (name: string, command: Command): Judged =>
  warning(
    'bridge',
    `What ${name} only forwards between its ports, such as to virtual machines, is decided as well`,
    {
      remedy: `If no rules need to see that (Docker's and Kubernetes' do), hide it from all rules; otherwise decide only what is for the cluster, by --destinations ${name}=addresses`,
      command,
    },
  );

/** The kernel shows no packet twice in prerouting. */
const judgeAbove = (name: string, bridge: string, command: Command): Judged =>
  error('bridge', `What enters ${name} is not decided: rules see it on ${bridge}, and only there`, {
    remedy: `If no rules need to see what bridges forward (Docker's and Kubernetes' do), hide it from them; otherwise name ${bridge}, with the cluster's addresses there`,
    command,
  });

/** What hides from rules what the bridge forwards. */
const hiding = (bridge: string, everywhere: boolean): Command =>
  everywhere
    ? {
        program: 'sysctl',
        args: ['-w', ...BRIDGED.map((sysctl) => `net.${sysctl.replace('/', '.')}=0`)],
      }
    : {
        program: 'ip',
        args: `link set ${bridge} type bridge nf_call_iptables 0 nf_call_ip6tables 0`.split(' '),
      };
