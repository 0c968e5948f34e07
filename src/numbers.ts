/** A number as iptables spells it: 10, 0xa, or 012 for octal. NaN where it is none. */
export function spelledNumber(text: string): number {
  if (/^0[0-7]+$/.test(text)) return parseInt(text, 8);
  return /^(0x[0-9a-f]+|0|[1-9]\d*)$/i.test(text) ? Number(text) : NaN;
}
