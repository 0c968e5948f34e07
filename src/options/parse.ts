import leven from 'leven';
import { z } from 'zod';
import { invalidOption, NfqClusterError, printed, unknownOption } from '../errors.js';

/** Parses by a schema and turns its first issue into this package's error. */
export function parse<T extends z.ZodType>(type: T, input: unknown, what: string): z.output<T> {
  try {
    return parsed(type, input, what);
  } catch (error) {
    if (error instanceof NfqClusterError) throw error;
    // A getter, or a proxy, has thrown.
    const reason = error instanceof Error ? error.message : printed(error);
    throw new NfqClusterError('ERR_INVALID_OPTION', `Cannot read ${what}: ${reason}`, {
      expected: 'properties that can be read',
      cause: error,
    });
  }
}

function parsed<T extends z.ZodType>(type: T, input: unknown, what: string): z.output<T> {
  const result = type.safeParse(input);
  if (result.success) return result.data;
  const issues = result.error.issues.flatMap(withinUnion);
  /* A misspelt option shows as a missing one too; the misspelling is what helps. */
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0]!;
  const path = issue.path.map(String);
  const name = path.length === 0 ? what : path.join('.');
  const value = issue.path.reduce<unknown>(
    (at, step) => (at as Record<PropertyKey, unknown>)[step],
    input,
  );
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0]!;
    throw unknownOption([...path, key].join('.'), didYouMean(key, knownKeys(type, issue.path)));
  }
  if (value === undefined && path.length > 0) {
    throw invalidOption(name, issue.message, value, `The option ${name} is mandatory.`);
  }
  throw invalidOption(name, issue.message, value);
}

/** For an object that fits no type of a union, what is wrong within it, which says more. */
function withinUnion(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== 'invalid_union') return [issue];
  const within = issue.errors.find((errors) =>
    errors.some(({ code, path }) => code === 'unrecognized_keys' || path.length > 0),
  );
  return within?.map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] })) ?? [issue];
}

/** The keys of the object that lies at `path`; none where there is no object. */
function knownKeys(type: z.ZodType, path: readonly PropertyKey[]): string[] {
  let at: unknown = type;
  for (const step of path) {
    at = unwrapped(at);
    if (at instanceof z.ZodObject) at = (at.shape as Record<PropertyKey, unknown>)[step];
    else if (at instanceof z.ZodArray) at = at.element;
  }
  return [...new Set(keysOf(at))];
}

function keysOf(type: unknown): string[] {
  if (type instanceof z.ZodOptional) return keysOf(type.unwrap());
  if (type instanceof z.ZodUnion) return type.options.flatMap(keysOf);
  return type instanceof z.ZodObject ? Object.keys(type.shape) : [];
}

function unwrapped(type: unknown): unknown {
  if (type instanceof z.ZodOptional) return type.unwrap();
  if (type instanceof z.ZodUnion) {
    return type.options.find((option) => option instanceof z.ZodObject);
  }
  return type;
}

/** "Did you mean NAME?" where a known name is near, else the list of them. */
function didYouMean(wrong: string, known: readonly string[]): string {
  const [nearest] = known
    .map((name) => ({ name, distance: leven(wrong.toLowerCase(), name.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  if (nearest !== undefined && nearest.distance <= Math.max(2, wrong.length / 3)) {
    return `Did you mean ${nearest.name}?`;
  }
  return `Known here: ${known.join(', ')}.`;
}
