/**
 * One line of a container's log file, and the names of the files. Pure.
 *
 * The format is the one of the Kubernetes CRI (kubernetes/design-proposals-archive, node/kubelet-cri-logging.md): log
 * shippers know it, `grep` and `less` can read it, and text is copied as it came, byte for byte (JSON would have to escape it).
 *
 *     2026-01-31T12:00:00.123Z stdout F listening on port 80
 *
 * that is time (RFC 3339, UTC), stream, tags, text. Tags are separated by `:`; the first is `F` (the line ends here) or `P` (it
 * goes on in the next line of the same stream). The second, `c`, is ours: this piece continues an earlier one, so a reader
 * that comes from the end of the file knows that it must go on backwards. The stream `weft` carries the log keeper's own remarks.
 */

export const STREAMS = ['stdout', 'stderr', 'weft'] as const;
export type LogStream = (typeof STREAMS)[number];

/** A longer line is written in pieces of this size, as containerd's and CRI-O's log writers do. */
export const MAX_PIECE_BYTES = 16 * 1024;

/** One physical line of a log file. */
export interface LogPiece {
  /** Milliseconds since the epoch, when the text was read from the container. */
  at: number;
  stream: LogStream;
  /** The text goes on in the next piece of the same stream. */
  partial: boolean;
  /** The text continues an earlier piece of the same stream. */
  continued: boolean;
  text: Buffer;
}

/** Everything of a line that stands before its text. `stamp` is RFC 3339. */
export function pieceHeader(stamp: string, stream: LogStream, partial: boolean, continued: boolean): string {
  return `${stamp} ${stream} ${partial ? 'P' : 'F'}${continued ? ':c' : ''} `;
}

/** One whole line of the `weft` stream, newline included; newlines in `text` become spaces. */
export function remarkLine(stamp: string, text: string): Buffer {
  return Buffer.from(`${pieceHeader(stamp, 'weft', false, false)}--- ${text.replace(/[\r\n]+/g, ' ')} ---\n`);
}

const SPACE = 0x20;

/** Reads one line (without its newline); undefined if it has not the form of one, for example because a crash cut it short. */
export function parsePiece(line: Buffer): LogPiece | undefined {
  const first = line.indexOf(SPACE);
  const second = line.indexOf(SPACE, first + 1);
  const third = line.indexOf(SPACE, second + 1);
  if (first < 0 || second < 0 || third < 0 || third > 128) return undefined;
  const at = Date.parse(line.toString('latin1', 0, first));
  const stream = STREAMS.find((s) => s === line.toString('latin1', first + 1, second));
  const [end, ...more] = line.toString('latin1', second + 1, third).split(':');
  if (Number.isNaN(at) || !stream || (end !== 'F' && end !== 'P')) return undefined;
  return { at, stream, partial: end === 'P', continued: more.includes('c'), text: line.subarray(third + 1) };
}

/** Name of the `index`-th rotated file: 0 is the file that is written now, 1 the one before it, and so on. */
export const rotatedName = (file: string, index: number): string => (index === 0 ? file : `${file}.${index}`);
