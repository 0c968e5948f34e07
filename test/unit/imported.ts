import assert from 'node:assert/strict';
import { importRules, type Note } from '../../src/import/index.js';

/** The one configuration of a text. */
export const one = (text: string): Record<string, unknown> => {
  const { configurations, notes } = importRules(text);
  assert.equal(configurations.length, 1, JSON.stringify(notes));
  return { ...configurations[0]! };
};

/** What there is to say of one kind: `LINE: TEXT`. */
export const noted = (text: string, kind: Note['kind']): string[] =>
  importRules(text)
    .notes.filter((note) => note.kind === kind)
    .map((note) => `${note.line}: ${note.text}`);
