/** Addresses of both families as bytes: what A and AAAA records carry, and what a subnet is compared by. */

/** An address and how many leading bits of it count. */
export interface Prefix {
  bytes: Uint8Array;
  bits: number;
}

const DIGIT_ZERO = 0x30;
const DECIMAL_OCTET = /^(0|[1-9]\d{0,2})$/;
const HEX_GROUP = /^[0-9a-fA-F]{1,4}$/;
const IPV6_GROUPS = 8;

/** Character by character: a large zone has very many of them, and names wait while it is read. */
function parseIpv4(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(4);
  let octet = 0;
  let value = -1;
  for (let i = 0; i <= text.length; i++) {
    const digit = text.charCodeAt(i) - DIGIT_ZERO;
    if (digit >= 0 && digit <= 9) {
      if (value === 0) return undefined;
      value = value < 0 ? digit : value * 10 + digit;
      if (value > 255) return undefined;
    } else {
      if (value < 0 || octet > 3 || (i < text.length && text[i] !== '.')) return undefined;
      bytes[octet++] = value;
      value = -1;
    }
  }
  return octet === 4 ? bytes : undefined;
}

/** The 16-bit groups of one side of `::`; undefined if it has a group that is none. A dotted IPv4 address at the end of all gives two groups. */
function groupsOf(text: string, isEnd: boolean): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [i, part] of parts.entries()) {
    const tail = isEnd && i === parts.length - 1 && part.includes('.') ? parseIpv4(part) : undefined;
    if (tail) groups.push(((tail[0] ?? 0) << 8) | (tail[1] ?? 0), ((tail[2] ?? 0) << 8) | (tail[3] ?? 0));
    else if (HEX_GROUP.test(part)) groups.push(parseInt(part, 16));
    else return undefined;
  }
  return groups;
}

function parseIpv6(text: string): Uint8Array | undefined {
  const sides = text.split('::');
  if (sides.length > 2) return undefined;
  const [head, tail] = [groupsOf(sides[0] ?? '', sides.length === 1), groupsOf(sides[1] ?? '', true)];
  if (!head || !tail) return undefined;
  const missing = IPV6_GROUPS - head.length - tail.length;
  if (sides.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  return Uint8Array.from(groups.flatMap((g) => [g >> 8, g & 255]));
}

/** 4 or 16 bytes, or undefined if `text` is no address (RFC 4291 §2.2; no zones, no leading zeros in IPv4). */
export function parseAddress(text: string): Uint8Array | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

/** The canonical text (RFC 5952): lower case, the first longest run of zero groups shortened. */
export function formatAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`;
  const groups = Array.from({ length: IPV6_GROUPS }, (_, i) => ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0));
  let [start, length] = [0, 1];
  for (let i = 0; i < IPV6_GROUPS; i++) {
    let run = 0;
    while (groups[i + run] === 0) run++;
    if (run > length) [start, length] = [i, run];
  }
  const hex = (from: number, to?: number): string =>
    groups
      .slice(from, to)
      .map((g) => g.toString(16))
      .join(':');
  return length > 1 ? `${hex(0, start)}::${hex(start + length)}` : hex(0);
}

/** `10.1.0.0/20` or `fd00::/64`; undefined if it is none. */
export function parsePrefix(text: string): Prefix | undefined {
  const [address = '', length = '', ...rest] = text.split('/');
  const bytes = parseAddress(address);
  const bits = DECIMAL_OCTET.test(length) ? Number(length) : NaN;
  if (!bytes || rest.length > 0 || !(bits <= bytes.length * 8)) return undefined;
  return { bytes, bits };
}

/** Whether `inner` lies in `outer` whole. */
export function prefixContains(outer: Prefix, inner: Prefix): boolean {
  if (outer.bytes.length !== inner.bytes.length || inner.bits < outer.bits) return false;
  for (let bit = 0; bit < outer.bits; bit += 8) {
    const mask = outer.bits - bit >= 8 ? 255 : (255 << (8 - (outer.bits - bit))) & 255;
    if (((outer.bytes[bit >> 3] ?? 0) & mask) !== ((inner.bytes[bit >> 3] ?? 0) & mask)) return false;
  }
  return true;
}

/** `7.0.1.10.in-addr.arpa` for 10.1.0.7 (RFC 1035 §3.5), 32 nibbles under `ip6.arpa` for IPv6 (RFC 3596 §2.5). */
export function reverseNameOf(bytes: Uint8Array): string {
  if (bytes.length === 4) return `${bytes[3]}.${bytes[2]}.${bytes[1]}.${bytes[0]}.in-addr.arpa`;
  const nibbles = [...bytes].flatMap((b) => [b >> 4, b & 15]).reverse();
  return `${nibbles.map((n) => n.toString(16)).join('.')}.ip6.arpa`;
}

/**
 * What a name under `in-addr.arpa` or `ip6.arpa` speaks of: a whole address, or with fewer labels all addresses that begin
 * so. Undefined for any other name.
 */
export function prefixOfReverseName(name: string): Prefix | undefined {
  const labels = name.split('.').slice(0, -2).reverse();
  if (name.endsWith('.in-addr.arpa')) {
    if (labels.length > 4 || !labels.every((l) => DECIMAL_OCTET.test(l) && Number(l) <= 255)) return undefined;
    return { bytes: Uint8Array.from({ length: 4 }, (_, i) => Number(labels[i] ?? 0)), bits: labels.length * 8 };
  }
  if (!name.endsWith('.ip6.arpa')) return undefined;
  if (labels.length > 32 || !labels.every((l) => /^[0-9a-f]$/.test(l))) return undefined;
  const nibble = (i: number): number => parseInt(labels[i] ?? '0', 16);
  return { bytes: Uint8Array.from({ length: 16 }, (_, i) => (nibble(2 * i) << 4) | nibble(2 * i + 1)), bits: labels.length * 4 };
}
