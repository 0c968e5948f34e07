import {
  commandOf,
  duplicateOf,
  isInPlace,
  unused,
  type Change,
  type SystemFacts,
} from '../setup/changes.js';
import type { DoctorFacts, Link, Neighbour, Subject } from './facts.js';
import { error, given, ok, skipped, warning, type Judged } from './finding.js';

/** Whether the rules stand, and are those of the options. */
export const checkSetup = ({ subjects }: DoctorFacts): Judged[] =>
  given('setup', [subjects], (all) =>
    all.length === 0
      ? [skipped('setup', 'No setup is in place, and no options say which one should be')]
      : all.map(standing),
  );

function standing({ name, rules, compared }: Subject): Judged {
  const same = { remedy: 'Run "nfq-cluster apply" or "nfq-cluster run" with these options' };
  if (!rules)
    return error(
      'setup',
      `The rules of the setup ${name} are not in place: nothing is decided`,
      same,
    );
  switch (compared) {
    case 'same':
      return ok('setup', `The rules of ${name} are in place, as these options make them`);
    case 'changed':
      return error('setup', `The rules of ${name} are not as these options make them`, {
        remedy:
          'Somebody changed them, the interface changed its MAC, or the engine has other options. Run "nfq-cluster apply" with these options',
      });
    case 'other options':
      return error('setup', `The setup ${name} is in place with other options`, {
        remedy:
          'Run "nfq-cluster apply --replace" with these options, or run the doctor with the others',
      });
    case 'own':
      return skipped('setup', `The rules of ${name} are your own, with --rules none`);
    case 'unknown':
      return notComparable(name);
    case undefined:
      return uncompared(name);
  }
}

const uncompared = (name: string): Judged =>
  warning('setup', `The rules of ${name} are in place, but not compared with what they should be`, {
    remedy: 'Give the options of the setup',
  });

const notComparable = (name: string): Judged =>
  skipped(
    'setup',
    `The rules of ${name} are in place, but cannot be compared here with what these options make`,
    {
      remedy:
        'That takes a network namespace to make them in, as "unshare --net" does: run the doctor where this is permitted, such as on the host, with --netns',
    },
  );

const CHECKS = { sysctl: 'sysctl', mac: 'MAC', group: 'group', address: 'address' } as const;

/** Whether kernel parameters, MACs and addresses are as the setup needs them. */
export const checkChanges = ({ subjects, system }: DoctorFacts): Judged[] =>
  given('changes', [subjects, system], (all, known) =>
    all.flatMap(({ rules, changes }) => changes.map((change) => judgeChange(change, known, rules))),
  );

function judgeChange(change: Change, system: SystemFacts, rules: boolean): Judged {
  const check = CHECKS[change.kind];
  const duplicate = duplicateOf(change, system.interfaces[change.on]);
  if (duplicate !== undefined) return judgeDuplicate(duplicate, change.on);
  const inPlace = isInPlace(change, system);
  const found = inPlace ? so(change) : notSo(change, system);
  if (inPlace) return ok(check, found);
  if (!rules) return skipped(check, `${found}: the setup will change that`);
  return error(check, found, { command: commandOf(change, 'do') });
}

const judgeDuplicate = (address: string, on: string): Judged =>
  error('address', unused(address, on), {
    remedy: 'Have nothing but the setup add it, take it away, and run the doctor again',
    command: { program: 'ip', args: ['address', 'del', address, 'dev', on] },
  });

const so = ({ kind, on, value }: Change): string =>
  kind === 'sysctl' ? `net/${on} is ${value}` : `${on} has ${value}`;

const notSo = ({ kind, on, value }: Change, { sysctls }: SystemFacts): string =>
  kind === 'sysctl'
    ? `net/${on} is ${sysctls[on] ?? 'not there'}, and must be ${value}`
    : `${on} does not have ${value}`;

/** Whether the interfaces are there and up. */
export const checkInterfaces = ({ subjects, links }: DoctorFacts): Judged[] =>
  given('interface', [subjects, links], (all, known) =>
    [...new Set(all.flatMap(({ interfaces }) => interfaces))].map((name) =>
      judgeLink(
        name,
        known.find((link) => link.name === name),
      ),
    ),
  );

function judgeLink(name: string, link: Link | undefined): Judged {
  if (link === undefined) {
    return error('interface', `There is no interface ${name}`, {
      remedy: 'The command "ip link" lists those that exist',
    });
  }
  if (link.arrivesOn !== undefined) {
    return error(
      'interface',
      `What ${name} receives arrives on ${link.arrivesOn}, and is not decided`,
      {
        remedy: `Name ${link.arrivesOn} instead`,
      },
    );
  }
  if (link.loopback === true) {
    return error('interface', `Nothing that other machines send arrives on ${name}`, {
      remedy:
        'Name the interface on which it does; a cluster address may be on this one all the same',
    });
  }
  if (!link.up) {
    const up = { program: 'ip', args: ['link', 'set', name, 'up'] };
    return error('interface', `${name} is down`, { command: up });
  }
  return link.carrier
    ? ok('interface', `${name} is up`)
    : error('interface', `${name} is up but has no carrier`, {
        remedy: 'Check the cable, the switch, or the other end of the virtual link',
      });
}

/** Whether this machine resolves cluster addresses to their MAC, and nobody else tells that MAC as its own. */
export const checkNeighbours = ({ subjects, neighbours }: DoctorFacts): Judged[] =>
  given('peers', [subjects, neighbours], (all, known) =>
    all.flatMap(({ shared }) => judgePeers(shared, known)),
  );

function judgePeers(shared: Subject['shared'], neighbours: readonly Neighbour[]): Judged[] {
  const addresses = new Set(shared.map(({ address }) => address));
  const strangers = neighbours.filter(
    ({ mac, address }) => !addresses.has(address) && shared.some((entry) => entry.mac === mac),
  );
  return [
    ...shared.map((entry) => {
      const found = neighbours.find(({ address, mac }) => address === entry.address && mac);
      return judgePeer(entry, found);
    }),
    ...strangers.map(({ address, on, mac }) =>
      error('peers', `${address} on ${on} is resolved to ${mac!}, the MAC of the cluster`, {
        remedy: `Have the machine with ${address} announce its own MAC`,
      }),
    ),
  ];
}

function judgePeer(
  { address, mac, on }: Subject['shared'][number],
  found: Neighbour | undefined,
): Judged {
  if (found === undefined) {
    return skipped('peers', `Nothing here has asked for ${address}`, {
      remedy: `Look on a machine that sends to it: "ip neigh show ${address}" must show ${mac}`,
    });
  }
  if (found.mac === mac) return ok('peers', `${address} is resolved to ${mac}`);
  return error('peers', `${address} on ${found.on} is resolved to ${found.mac!}, not to ${mac}`, {
    remedy: `A node without the setup, or another machine, answers for it on the network of ${on}. Correct that, then delete this entry`,
    command: { program: 'ip', args: ['neigh', 'del', address, 'dev', found.on] },
  });
}

/** What to enter in a router that refuses a multicast MAC for a unicast address. */
export const checkRouters = ({ subjects }: DoctorFacts): Judged[] =>
  given('routers', [subjects], (all) =>
    all.flatMap(({ shared }) =>
      shared.map(({ address, mac }) =>
        skipped(
          'routers',
          `Whether the routers accept ${mac} for ${address} cannot be seen from here`,
          {
            remedy: `A router that refuses it needs a static entry: ${staticEntry(address, mac)}`,
          },
        ),
      ),
    ),
  );

function staticEntry(address: string, mac: string): string {
  const linux = `ip neigh replace ${address} lladdr ${mac} nud permanent dev IFACE`;
  const dotted = mac.replaceAll(':', '').replace(/(.{4})(.{4})/, '$1.$2.');
  return address.includes(':')
    ? `"ipv6 neighbor ${address} IFACE ${dotted}" (IOS), "${linux}" (Linux)`
    : `"arp ${address} ${dotted} arpa" (IOS), "${linux}" (Linux)`;
}
