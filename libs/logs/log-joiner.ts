/** From the physical lines of a log to entries: pieces of a long line become one again. Pure but for what it remembers. */
import { parsePiece, type LogPiece, type LogStream } from './log-file.js';

export interface LogEntry {
  /** Milliseconds since the epoch: when the beginning of the line was read. */
  at: number;
  stream: LogStream;
  text: string;
}

interface Begun {
  at: number;
  stream: LogStream;
  parts: Buffer[];
}

const entryOf = (begun: Begun): LogEntry => ({ at: begun.at, stream: begun.stream, text: Buffer.concat(begun.parts).toString('utf8') });

export class LogJoiner {
  readonly #begun = new Map<LogStream, Begun>();
  #lastAt = 0;

  /** The entries that `line` completes: none, one, or more when a remark ends what was begun. */
  add(line: Buffer): LogEntry[] {
    const piece = parsePiece(line);
    if (!piece) return [{ at: this.#lastAt, stream: 'weft', text: line.toString('utf8') }];
    this.#lastAt = piece.at;
    if (piece.stream === 'weft') return [...this.rest(), { at: piece.at, stream: 'weft', text: piece.text.toString('utf8') }];
    return this.#join(piece);
  }

  /** A remark of the reader's own. */
  remark(text: string): LogEntry[] {
    return [...this.rest(), { at: this.#lastAt, stream: 'weft', text: `--- ${text} ---` }];
  }

  /** Number of lines that have begun and not ended. */
  get pending(): number {
    return this.#begun.size;
  }

  /** Gives out, as they are, the lines that have begun and not ended. */
  rest(): LogEntry[] {
    const entries = [...this.#begun.values()].map(entryOf);
    this.#begun.clear();
    return entries;
  }

  #join(piece: LogPiece): LogEntry[] {
    const begun = this.#begun.get(piece.stream);
    if (!piece.partial && !begun) return [{ at: piece.at, stream: piece.stream, text: piece.text.toString('utf8') }];
    const line = begun ?? { at: piece.at, stream: piece.stream, parts: [] };
    line.parts.push(piece.text);
    this.#begun.set(piece.stream, line);
    if (piece.partial) return [];
    this.#begun.delete(piece.stream);
    return [entryOf(line)];
  }
}
