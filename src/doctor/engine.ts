import { z } from 'zod';
import { ask } from '../control/ask.js';
import { controlPath } from '../control/path.js';
import type { Status } from '../control/status.js';
import { NfqClusterError } from '../errors.js';
import type { ResolvedOptions } from '../options/types.js';
import { hex } from '../setup/words.js';
import { error, given, ok, skipped, warning, type Judged } from './finding.js';
import type { DoctorFacts } from './facts.js';

/** Milliseconds to wait for an engine's answer: one that is stopped takes the request and never answers. */
const PATIENCE = 2000;

/** What an engine decides by. */
type Deciding = Pick<
  Status,
  | 'name'
  | 'policy'
  | 'hashMode'
  | 'strict'
  | 'hashSeed'
  | 'buckets'
  | 'action'
  | 'ownedMark'
  | 'offload'
  | 'interfaces'
  | 'queues'
>;

/** Of an engine's status, what is judged. Not inferred from the schema, as the public types would refer to zod. */
export type Told = Deciding & Pick<Status, 'conntrack' | 'validFor'>;

/** Whether a status has that; an engine of another version may have more, or name it otherwise. */
const toldSchema = z.object({
  name: z.string(),
  policy: z.string(),
  hashMode: z.string().nullable(),
  strict: z.boolean().nullable(),
  hashSeed: z.number(),
  buckets: z.number(),
  action: z.string(),
  ownedMark: z.object({ value: z.number(), mask: z.number() }),
  conntrack: z.object({ source: z.string() }),
  offload: z.array(z.string()),
  interfaces: z.array(z.object({ name: z.string(), key: z.string() })),
  queues: z.array(z.number()),
  validFor: z.number().nullable(),
});

/** What an engine says of itself, or why it says nothing. */
export type Answer = { known: Told } | { unknown: string; remedy?: string };

/** The engine of a setup. */
export interface EngineFacts {
  /** The setup's name. */
  name: string;
  answer: Answer;
  /** What the engine should be; undefined if nobody said. */
  options: ResolvedOptions | undefined;
}

type Named = Pick<ResolvedOptions, 'name' | 'netns' | 'control'>;

/** Asks the engine of these options for its status. */
export async function readEngine({ name, netns, control }: Named): Promise<Answer> {
  let file = control;
  try {
    if (!file.startsWith('/')) file = await controlPath(name, netns);
    const told = await ask(file, { command: 'status' }, PATIENCE);
    if (toldSchema.safeParse(told).success) return { known: told as Told };
    return { unknown: `What answers on ${file} is not an engine of this version` };
  } catch (cause) {
    if (!(cause instanceof NfqClusterError)) throw cause;
    return file.startsWith('/') ? noAnswer(file, cause) : { unknown: cause.message };
  }
}

function noAnswer(file: string, { message, cause }: NfqClusterError): Answer {
  switch ((cause as NodeJS.ErrnoException | undefined)?.code) {
    case 'ENOENT':
      return {
        unknown: `There is no control socket ${file}`,
        remedy: 'If the engine runs and has another one, give its path by --control',
      };
    case 'ECONNREFUSED':
      return { unknown: `Nobody listens on the control socket ${file}` };
    case 'EACCES':
    case 'EPERM':
      return {
        unknown: `This process may not use the control socket ${file}`,
        remedy: 'Run as root, or as the user that the engine runs as',
      };
    case 'ETIMEDOUT':
      return {
        unknown: `The engine does not answer on ${file}: ${(cause as Error).message}`,
        remedy: 'Look whether its process is stopped (SIGSTOP, a debugger) or too busy',
      };
    default:
      return { unknown: message };
  }
}

const CHECK = 'engine';

/** Whether the running engines decide as the options say. */
export const checkEngines = ({ engines }: DoctorFacts): Judged[] =>
  given(CHECK, [engines], (all) => all.flatMap(judge));

function judge({ name, answer, options }: EngineFacts): Judged[] {
  if ('unknown' in answer) {
    const { unknown, remedy } = answer;
    return [skipped(CHECK, unknown, remedy === undefined ? {} : { remedy })];
  }
  const { known } = answer;
  return [
    ...(options === undefined ? [notCompared(name)] : compared(name, known, options)),
    ...(known.validFor === 0 ? [over(name)] : []),
  ];
}

const notCompared = (name: string): Judged =>
  skipped(CHECK, `The engine of ${name} runs, but is not compared with what it should be`, {
    remedy: 'Give the options of the setup',
  });

const over = (name: string): Judged =>
  warning(CHECK, `The time of what the engine of ${name} owned is over: it owns nothing`, {
    remedy:
      'If no other node owns by now what this one did, run "nfq-cluster own" with all that this one is to own',
  });

function compared(name: string, told: Told, options: ResolvedOptions): Judged[] {
  const engine = { ...told, conntrack: told.conntrack.source };
  const wanted = { ...options, ownedMark: options.marks.owned };
  const differing = (all: readonly Words[], remedy: string): Judged[] =>
    all
      .map((words) => [words(engine), words(wanted)])
      .filter(([has, says]) => has !== undefined && says !== undefined && has !== says)
      .map(([has, says]) =>
        error(CHECK, `The engine of ${name} has ${has!}; these options say ${says!}`, { remedy }),
      );
  const found = [
    ...differing(
      HASHING,
      'Nodes that hash differently accept packets twice or lose them. Run "nfq-cluster own none" on every node, then restart the engine on each with these options',
    ),
    ...differing(
      ELSE,
      'Restart the engine with these options, or run the doctor with those of the engine',
    ),
  ];
  return found.length > 0
    ? found
    : [ok(CHECK, `The engine of ${name} decides as these options say`)];
}

/** Something of an engine or of the options in words; undefined if it means nothing, and so cannot differ. */
type Words = (of: Deciding & { conntrack: string }) => string | undefined;

/** What must be the same on every node. */
const HASHING: readonly Words[] = [
  ({ policy }) => `policy ${policy}`,
  ({ policy, hashMode }) => (policy === 'clusterip' ? `hash mode ${hashMode}` : undefined),
  ({ policy, strict }) => (policy === 'clusterip' ? `strict ${strict}` : undefined),
  ({ hashSeed }) => `hash seed ${hex(hashSeed)}`,
  ({ buckets }) => `${buckets} buckets`,
  ({ interfaces }) =>
    inside(interfaces) === '' ? 'no key destination' : `key destination on ${inside(interfaces)}`,
];

const ELSE: readonly Words[] = [
  ({ name }) => `name ${name}`,
  ({ action }) => `action ${action}`,
  ({ action, ownedMark: { value, mask } }) =>
    action === 'mark' ? `mark ${hex(value)}/${hex(mask)}` : undefined,
  // Always off with policy clusterip and with a key destination, which are compared already.
  ({ conntrack, policy, interfaces }) =>
    conntrack === 'auto' || policy === 'clusterip' || inside(interfaces) !== ''
      ? undefined
      : `conntrack ${conntrack}`,
  ({ offload }) =>
    offload.length === 0 ? 'no offload' : `offload ${[...offload].sort().join(', ')}`,
  ({ interfaces }) => `interfaces ${sorted(interfaces)}`,
  ({ queues }) => `queues ${queues.join(', ')}`,
];

const inside = (interfaces: Deciding['interfaces']): string =>
  sorted(interfaces.filter(({ key }) => key === 'destination'));

const sorted = (interfaces: readonly { name: string }[]): string =>
  interfaces
    .map(({ name }) => name)
    .sort()
    .join(', ');
