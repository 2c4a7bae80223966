/**
 * Domain names on the wire (RFC 1035 §3.1, §4.1.4) and as text. As text a name is lower case (names compare without regard
 * to case, RFC 4343), has no dot at its end (the root is the empty string), and writes every byte that is not printable,
 * and dots and backslashes inside a label, as `\DDD` (RFC 1035 §5.1), so that text and wire form match one to one.
 */
import { FormatError } from './format-error.js';
import type { ByteWriter } from './byte-writer.js';
import { HEADER_BYTES } from './constants.js';

const MAX_LABEL_BYTES = 63;
/** Lengths and the closing zero included (RFC 1035 §2.3.4). */
const MAX_NAME_BYTES = 255;
const POINTER_BITS = 0xc0;
/** A compression pointer has 14 bits. */
const MAX_POINTER = 0x3fff;

/** What nearly all names are: the quick way to say that one is fine. */
const PLAIN_NAME = /^[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/;

const LABEL_TEXT = Array.from({ length: 256 }, (_, byte) => {
  const char = String.fromCharCode(byte);
  if (byte <= 0x20 || byte >= 0x7f || char === '.' || char === '\\') return `\\${String(byte).padStart(3, '0')}`;
  return char.toLowerCase();
});

/**
 * Reads the name at `offset`; `next` is where reading goes on. A compression pointer may only lead backwards, past the header,
 * before the part it was met in: so no chain of them can loop.
 * @throws FormatError
 */
export function readName(bytes: Uint8Array, offset: number): { name: string; next: number } {
  const labels: string[] = [];
  let at = offset;
  let partStart = offset;
  let next = -1;
  let total = 1;
  for (;;) {
    const length = bytes[at];
    if (length === undefined) throw new FormatError('a name runs past the end');
    if (length === 0) return { name: labels.join('.'), next: next < 0 ? at + 1 : next };
    if (length >= POINTER_BITS) {
      const low = bytes[at + 1];
      const target = ((length & ~POINTER_BITS) << 8) | (low ?? 0);
      if (low === undefined || target < HEADER_BYTES || target >= partStart) throw new FormatError('a compression pointer leads nowhere');
      if (next < 0) next = at + 2;
      partStart = at = target;
      continue;
    }
    if (length > MAX_LABEL_BYTES) throw new FormatError('a label of an unknown kind');
    total += length + 1;
    if (total > MAX_NAME_BYTES) throw new FormatError('a name longer than 255 bytes');
    labels.push(readLabel(bytes, at + 1, length));
    at += length + 1;
  }
}

function readLabel(bytes: Uint8Array, start: number, length: number): string {
  let text = '';
  for (let i = start; i < start + length; i++) {
    const byte = bytes[i];
    if (byte === undefined) throw new FormatError('a label runs past the end');
    text += LABEL_TEXT[byte] as string;
  }
  return text;
}

function labelBytes(label: string): number[] {
  const bytes: number[] = [];
  for (let i = 0; i < label.length; i++) {
    const escaped = label[i] === '\\' ? /^\d{3}/.exec(label.slice(i + 1, i + 4))?.[0] : undefined;
    bytes.push(escaped === undefined ? label.charCodeAt(i) & 255 : Number(escaped) & 255);
    if (escaped !== undefined) i += 3;
  }
  return bytes;
}

/** Where in the message each name stands that a later one may point to. */
export type NameOffsets = Map<string, number>;

/** Writes `name` (text), pointing to what `offsets` knows and adding to it. @throws FormatError if it does not fit the limits */
export function writeName(writer: ByteWriter, name: string, offsets: NameOffsets): void {
  const start = writer.length;
  for (let rest = name; rest !== '';) {
    const known = offsets.get(rest);
    if (known !== undefined) return writer.u16((POINTER_BITS << 8) | known);
    if (writer.length <= MAX_POINTER) offsets.set(rest, writer.length);
    const dot = rest.indexOf('.');
    const bytes = labelBytes(dot < 0 ? rest : rest.slice(0, dot));
    if (bytes.length === 0 || bytes.length > MAX_LABEL_BYTES) throw new FormatError('a label must have 1 to 63 bytes');
    writer.u8(bytes.length);
    writer.bytes(bytes);
    rest = dot < 0 ? '' : rest.slice(dot + 1);
  }
  writer.u8(0);
  if (writer.length - start > MAX_NAME_BYTES) throw new FormatError('a name longer than 255 bytes');
}

/** Notes the offsets of a name that is on the wire already, uncompressed, at `offset`. */
export function noteName(name: string, offset: number, offsets: NameOffsets): void {
  let at = offset;
  for (let rest = name; rest !== '';) {
    if (!offsets.has(rest)) offsets.set(rest, at);
    const dot = rest.indexOf('.');
    at += labelBytes(dot < 0 ? rest : rest.slice(0, dot)).length + 1;
    rest = dot < 0 ? '' : rest.slice(dot + 1);
  }
}

/** The text form of a name that a person wrote: lower case, no dot at the end. */
export function normalName(text: string): string {
  const lower = text.toLowerCase();
  return lower.endsWith('.') ? lower.slice(0, -1) : lower;
}

/** Whether `text` (normal form) can be written on the wire. */
export function isWireName(text: string): boolean {
  if (text === '' || (PLAIN_NAME.test(text) && text.length <= MAX_NAME_BYTES - 2)) return true;
  let total = 1;
  for (const label of text.split('.')) {
    const length = labelBytes(label).length;
    if (length === 0 || length > MAX_LABEL_BYTES) return false;
    total += length + 1;
  }
  return total <= MAX_NAME_BYTES;
}
