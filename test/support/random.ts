import { createHash } from 'node:crypto';

/** Numbers and addresses that look random and are the same in every run. */
interface Random {
  /** From 0 to 0xffffffff. */
  u32(): number;
  /** From 0 to `bound` - 1. */
  below(bound: number): number;
  /** A unicast address that a packet may come from. */
  ipv4(): string;
  /** A global unicast address. */
  ipv6(): string;
}

/** @param seed says what they are for, and decides them */
export function random(seed: string): Random {
  let block = createHash('sha512').update(seed).digest();
  let offset = 0;
  const u32 = (): number => {
    if (offset === block.length) {
      block = createHash('sha512').update(block).digest();
      offset = 0;
    }
    offset += 4;
    return block.readUInt32LE(offset - 4);
  };
  const below = (bound: number): number => Math.floor((u32() / 2 ** 32) * bound);
  const octet = (): number => below(256);
  const group = (): string => below(0x1_0000).toString(16);
  return {
    u32,
    below,
    ipv4: () => {
      /* Not 0, 127, multicast, nor the wire's own 10.1.0.0/24. */
      const first = 1 + below(222);
      const second = octet();
      if (first === 127 || (first === 10 && second === 1)) return random(`${seed} ${u32()}`).ipv4();
      return `${first}.${second}.${octet()}.${octet()}`;
    },
    ipv6: () =>
      `${(0x2000 + below(0x1fff)).toString(16)}:${Array.from({ length: 7 }, group).join(':')}`,
  };
}
