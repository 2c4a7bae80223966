/**
 * What the agent and the name server say to one another over the control socket: one JSON object a line.
 * `{id, set: NameConfig}` or `{id, get: "status"}`, answered by `{id, ok}` or `{id, error: {code, what, why?, hint}}`.
 */
import { CATALOGUE, WeftError, type ErrorCode } from '#base/errors.js';

/** A zone of 100,000 names has about 10 MB. */
const MAX_LINE_BYTES = 256 * 1024 * 1024;
const NEWLINE = 0x0a;

export type Fields = Record<string, unknown>;

/** @throws BAD_VALUE */
export function fieldsOf(value: unknown): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  throw new WeftError('BAD_VALUE', 'a line on the control socket is no JSON object');
}

/** Returns what takes chunks; `onLine` gets each line when it is whole. @throws BAD_VALUE when a line does not end */
export function lineReader(onLine: (line: string) => void): (chunk: Buffer) => void {
  let held: Buffer[] = [];
  let heldBytes = 0;
  return (chunk) => {
    let rest = chunk;
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      const line = Buffer.concat([...held, rest.subarray(0, end)]).toString();
      held = [];
      heldBytes = 0;
      rest = rest.subarray(end + 1);
      onLine(line);
    }
    if (rest.length === 0) return;
    held.push(rest);
    heldBytes += rest.length;
    if (heldBytes > MAX_LINE_BYTES) throw new WeftError('BAD_VALUE', 'a line on the control socket does not end');
  };
}

export function encodeError(error: WeftError): object {
  return { code: error.code, what: error.what, why: error.why, hint: error.hint };
}

export function decodeError(value: unknown): WeftError {
  const { code, what, why, hint } = fieldsOf(value);
  const text = (v: unknown): string | undefined => (typeof v === 'string' ? v : undefined);
  const known = typeof code === 'string' && code in CATALOGUE ? (code as ErrorCode) : 'INTERNAL';
  return new WeftError(known, { what: text(what) ?? 'the name server failed', why: text(why), hint: text(hint) });
}
