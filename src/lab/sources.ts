/** Prefixes that the clients' addresses come from: private, carrier-grade NAT, and testing. */
const IPV4_PREFIXES = [
  { base: [10, 0], bits: 8 },
  { base: [100, 64], bits: 10 },
  { base: [198, 18], bits: 15 },
] as const;

/** Documentation (RFC 9637): room for 4,096 providers of a /32 each. */
const IPV6_PREFIX = '3fff::/20';
const PROVIDERS = 64;

/** What the nodes route to the clients, and the clients take as their own. */
export const SOURCE_PREFIXES = {
  ipv4: IPV4_PREFIXES.map(({ base, bits }) => `${base.join('.')}.0.0/${bits}`),
  ipv6: [IPV6_PREFIX],
};

/* The numbers from 1 to 2^bits - 1 in an order that looks random; the factor must be odd. */
const scramble = (number: number, bits: number, factor = 0x9e37_79b1): number =>
  (Math.imul(number, factor) & (2 ** bits - 1)) >>> 0;

/** The first `count` IPv4 source addresses: all different, the same in every run; at most 65,535. */
export function ipv4Sources(count: number): string[] {
  return Array.from({ length: count }, (_, index) => {
    const { base, bits } = IPV4_PREFIXES[index % IPV4_PREFIXES.length]!;
    const host = scramble(index + 1, 32 - bits);
    return [base[0], base[1] + (host >>> 16), (host >>> 8) & 0xff, host & 0xff].join('.');
  });
}

/** The first `count` IPv6 source addresses, of several /32 prefixes; at most 65,535. */
export function ipv6Sources(count: number): string[] {
  return Array.from({ length: count }, (_, index) => {
    const provider = scramble((index % PROVIDERS) + 1, 12);
    const customer = scramble(index + 1, 16);
    const host = scramble(index + 1, 16, 0x85eb_ca6b);
    return `3fff:${[provider, customer].map(hex).join(':')}::${hex(host)}`;
  });
}

const hex = (group: number): string => group.toString(16);
