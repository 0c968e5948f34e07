/** One line as it was meant: continued lines joined, its number that of the first. */
export interface Line {
  number: number;
  text: string;
}

/** The lines of a text; a backslash at the end joins the next. */
export function logicalLines(text: string): Line[] {
  const lines: Line[] = [];
  let begun: Line | undefined;
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const line: Line = begun ?? { number: index + 1, text: '' };
    const continued = raw.endsWith('\\');
    line.text += continued ? `${raw.slice(0, -1)} ` : raw;
    begun = continued ? line : undefined;
    if (!continued) lines.push(line);
  }
  return begun === undefined ? lines : [...lines, begun];
}

/** The words of a line as a shell, and iptables-restore, split it. */
export function words(text: string): string[] {
  const found = text.matchAll(/(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+/g);
  return [...found].map(([word]) =>
    word.replace(/\\(.)|"((?:[^"\\]|\\.)*)"|'([^']*)'/g, (_, escaped, double, single) =>
      typeof escaped === 'string'
        ? escaped
        : typeof double === 'string'
          ? double.replace(/\\(.)/g, '$1')
          : String(single),
    ),
  );
}
