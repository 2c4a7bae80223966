/**
 * From the bytes of a pipe to the lines of a log file. This is the hot path of the log keeper: it copies bytes from one
 * buffer to another and makes no string and no object for a line.
 */
import { MAX_PIECE_BYTES, pieceHeader, type LogStream } from './log-file.js';

const NEWLINE = 0x0a;
/** Below this length a loop in JavaScript is quicker than a call of the native copy. */
const SHORT_COPY_BYTES = 48;
const FIRST_BYTES = 4 * 1024;
const NOTHING = Buffer.alloc(0);

/** A buffer that grows; an empty one holds no memory. */
export class LineBuffer {
  bytes: Buffer = NOTHING;
  length = 0;

  /** Makes room for `extra` more bytes. */
  reserve(extra: number): void {
    const need = this.length + extra;
    if (need <= this.bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(need, this.bytes.length * 2, FIRST_BYTES));
    this.bytes.copy(larger, 0, 0, this.length);
    this.bytes = larger;
  }

  append(from: Buffer, start: number, end: number): void {
    const size = end - start;
    this.reserve(size);
    const { bytes } = this;
    const at = this.length;
    if (size < SHORT_COPY_BYTES) for (let i = 0; i < size; i++) bytes[at + i] = from[start + i] as number;
    else from.copy(bytes, at, start, end);
    this.length = at + size;
  }

  appendByte(byte: number): void {
    this.reserve(1);
    this.bytes[this.length++] = byte;
  }
}

/** Splits one stream of one container into lines. It keeps the beginning of a line whose end has not come yet. */
export class LineSplitter {
  readonly #stream: LogStream;
  #carry: Buffer | undefined;
  #carried = 0;
  #continued = false;
  #stamp = '';
  #full = NOTHING;

  constructor(stream: LogStream) {
    this.#stream = stream;
  }

  /** Appends to `out` every line that ends in `chunk`, and the pieces of lines longer than MAX_PIECE_BYTES. */
  feed(chunk: Buffer, stamp: string, out: LineBuffer): void {
    let from = 0;
    while (from < chunk.length) {
      const newline = chunk.indexOf(NEWLINE, from);
      const end = newline < 0 ? chunk.length : newline;
      while (this.#carried + end - from > MAX_PIECE_BYTES) {
        const cut = from + MAX_PIECE_BYTES - this.#carried;
        this.#emit(chunk, from, cut, stamp, true, out);
        from = cut;
      }
      if (newline < 0) return this.#keep(chunk, from, end);
      this.#emit(chunk, from, end, stamp, false, out);
      from = end + 1;
    }
  }

  /** Writes the beginning of an unfinished line, if there is one: as a piece that goes on, or (`last`) as a line. */
  cut(stamp: string, out: LineBuffer, last: boolean): void {
    if (this.#carried > 0 || (last && this.#continued)) this.#emit(NOTHING, 0, 0, stamp, !last, out);
  }

  #keep(chunk: Buffer, from: number, end: number): void {
    if (from === end) return;
    this.#carry ??= Buffer.allocUnsafeSlow(MAX_PIECE_BYTES);
    chunk.copy(this.#carry, this.#carried, from, end);
    this.#carried += end - from;
  }

  #emit(chunk: Buffer, from: number, end: number, stamp: string, partial: boolean, out: LineBuffer): void {
    const header = this.#header(stamp, partial);
    out.append(header, 0, header.length);
    if (this.#carry) {
      out.append(this.#carry, 0, this.#carried);
      this.#carried = 0;
      this.#carry = undefined;
    }
    out.append(chunk, from, end);
    out.appendByte(NEWLINE);
    this.#continued = partial;
  }

  #header(stamp: string, partial: boolean): Buffer {
    if (partial || this.#continued) return Buffer.from(pieceHeader(stamp, this.#stream, partial, this.#continued), 'latin1');
    if (stamp !== this.#stamp) {
      this.#stamp = stamp;
      this.#full = Buffer.from(pieceHeader(stamp, this.#stream, false, false), 'latin1');
    }
    return this.#full;
  }
}
