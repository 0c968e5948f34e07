/* What is to be reached on two processors, and what is shown beside it. */
import { CALLED, OPENED, OPENED_WITH_RULES } from './calls.js';
import { COUNTED, COUNTERS, GROWING, HASHED, HASHED_BY, INSTRUCTIONS } from './hash.js';
import { FORWARDED } from './latency.js';
import { BELOW_THE_MATCH, BY_BUCKETS, GATHERING } from './packets.js';
import { allOwned, BY_SOURCES, CONDITION } from './support/conditions.js';
import {
  engine,
  exampleLoop,
  fannedOut,
  kernelMatch,
  noRule,
  offloaded,
  peer,
  stateless,
  statelessFannedOut,
  statelessLoop,
  statelessOffloaded,
  twoQueues,
  withoutHelpers,
  type Contender,
} from './support/contenders.js';
import type { Figure } from './support/results.js';
import type { Aim } from './support/standing.js';
import { STREAM } from './tcp.js';

type Named = Pick<Contender, 'name'>;
type Limit = Pick<Aim, 'least' | 'most' | 'always'>;
type Measured = (of: Named) => Figure;

const measured =
  (bench: string, condition: string, metric: string): Measured =>
  ({ name }) => ({ bench, condition, contender: name, metric });

/** An aim for each of some contenders, as a ratio to another's figure or by itself. */
const each = (
  what: string,
  contenders: readonly Named[],
  figure: Measured,
  limit: Limit,
  beside?: (contender: Named) => Named,
): Aim[] =>
  contenders.map((contender) => ({
    what,
    ours: figure(contender),
    ...(beside === undefined ? {} : { theirs: figure(beside(contender)) }),
    ...limit,
  }));

const defaults = engine('');
const queued = [defaults, withoutHelpers, stateless];
const [flows, sources] = [offloaded('flows'), offloaded('sources')];
const known = [sources, statelessOffloaded];
const knowing = [flows, ...known];

/** The same work in C, with connections tracked for it or without. */
const loop = (contender: Named): Named =>
  contender === stateless || contender === statelessFannedOut ? statelessLoop : exampleLoop;
const npm = (): Named => peer('nfqueue');
const match = (): Named => kernelMatch;
const untouched = (): Named => noRule;

const handled = (condition: string): Measured => measured('packets', condition, 'handled');
const time = (condition: string): Measured => measured('packets', condition, 'time per packet');

const lost = measured('packets', CONDITION.belowTheMatch, 'lost');
const offered = measured('packets', CONDITION.belowTheMatch, 'offered');
const drained = measured('packets', CONDITION.backlog, 'drained per second of processor time');
const memory = measured('packets', CONDITION.tenMillion, 'memory');
const memoryGrowth = measured('packets', CONDITION.tenMillion, 'memory growth');
const throughput = measured('tcp', STREAM, 'throughput');
const [median, late] = ['p50', 'p99'].map((metric) => measured('latency', FORWARDED, metric));
const counted = measured('hash', COUNTED, 'processor time');
const hashed = measured('hash', HASHED, 'processor time');
const instructions = measured('hash', INSTRUCTIONS, 'instructions per packet');
const called = measured('calls', CALLED, 'time');
const opened = (condition: string): Measured => measured('calls', condition, 'time');

const [one, few, million, millionNew] = BY_SOURCES.map((load) => time(allOwned(load)));
const growth = (what: string, many: Measured, contender: Named, limit: Limit): Aim => ({
  what,
  ours: many(contender),
  theirs: one!(contender),
  ...limit,
});

export const AIMS: readonly Aim[] = [
  ...each("lost at 0.9 of the match's rate", queued, lost, { most: 0, always: true }),
  ...each('offered for that', queued, offered, { least: 1 }, () => BELOW_THE_MATCH),
  ...each('handled of a flood', queued, handled(CONDITION.flood), { least: 1.5 }, loop),
  ...each('handled of a flood', queued, handled(CONDITION.flood), { least: 3.5 }, npm),
  ...each('drained of a backlog', queued, drained, { least: 1.7 }, loop),
  ...each(
    'time per packet at 120,000/s',
    [...queued, ...GATHERING],
    time(CONDITION.fixed),
    { most: 0.5 },
    loop,
  ),
  ...each('the same, in batches of 64', queued, time(CONDITION.batches), { most: 0.5 }, loop),
  ...each(
    'the same, decided where they are received',
    queued,
    time(CONDITION.whereReceived),
    { most: 0.5 },
    loop,
  ),
  ...each('the same, received there by RPS', queued, time(CONDITION.steered), { most: 0.5 }, loop),
  ...each(
    'in batches of 64, by both processors',
    [fannedOut, statelessFannedOut],
    time(CONDITION.byBoth),
    { most: 0.5 },
    loop,
  ),
  ...each(
    'handled of a flood by both processors',
    [defaults, twoQueues, fannedOut, kernelMatch],
    handled(CONDITION.floodByBoth),
    {},
    loop,
  ),

  ...each(
    'known connections and sources',
    knowing,
    handled(CONDITION.established),
    { least: 1 },
    match,
  ),
  ...each(
    'the same, of a flood',
    knowing,
    handled(CONDITION.establishedFlood),
    { least: 1 },
    match,
  ),
  ...each('every second source owned', known, handled(CONDITION.base), { least: 1 }, match),
  ...each('the same, of a flood', known, handled(CONDITION.flood), { least: 1 }, match),
  ...each('every second source owned', [flows], handled(CONDITION.base), {}, match),
  ...each('the same, of a flood', [flows], handled(CONDITION.flood), {}, match),
  ...each('a million new connections', [sources], handled(CONDITION.millionSources), {}, match),

  ...each('TCP', [defaults], throughput, { least: 0.6 }, untouched),
  ...each('TCP', knowing, throughput, { least: 0.95 }, untouched),
  ...each('TCP', [kernelMatch, exampleLoop], throughput, {}, untouched),

  ...each('latency, median', [defaults], median!, { most: 20 }),
  ...each('latency, median', [exampleLoop], median!, {}),
  ...each('latency, 99th percentile', [defaults], late!, { most: 100 }),
  ...each('latency, 99th percentile', [exampleLoop], late!, {}),

  ...each('all IPv4 addresses', COUNTERS, counted, { most: 3 }),
  ...each('all addresses, in bulk', HASHED_BY, hashed, {}),
  ...each('one call', [{ name: 'node() of a number' }], called, { most: 150 }),
  ...each('one call', [{ name: 'node() of an IPv4 text' }], called, { most: 300 }),
  ...each('an address in bulk', [{ name: 'bucketsIpv4()' }, { name: 'bucketsIpv6()' }], called, {
    most: 2,
  }),
  ...each('an engine without rules', [{ name: 'open()' }], opened(OPENED), { most: 20 }),
  ...each('an engine with rules', [{ name: 'open()' }], opened(OPENED_WITH_RULES), {}),

  ...each(
    'time per packet',
    BY_BUCKETS.slice(1),
    time(CONDITION.byBuckets),
    { most: 1 },
    () => BY_BUCKETS[0]!,
  ),
  ...each(
    'instructions per packet',
    GROWING.slice(1),
    instructions,
    { most: 1 },
    () => GROWING[0]!,
  ),
  ...[stateless, defaults].flatMap((it) => [
    growth('time per packet of 4,096 sources', few!, it, { most: 1 }),
    growth('time per packet of a million sources', million!, it, { most: 1 }),
  ]),
  ...[stateless, defaults, statelessLoop, exampleLoop].map((it) =>
    growth('a connection for each packet', millionNew!, it, {}),
  ),
  ...each('memory after ten million packets', [defaults], memory, { most: 80, always: true }),
  ...each('of it behind the first million', [defaults], memoryGrowth, { most: 1, always: true }),
];
