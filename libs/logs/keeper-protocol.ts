/**
 * What is spoken on the log keeper's control socket: one JSON object a line, `{id, verb, …}` answered by `{id, ok}` or
 * `{id, error}`, in any order; on a connection that tapped a log, `{tap, data}` for what its container prints. Everything that comes in is decoded here. Pure.
 */
import { isAbsolute } from 'node:path';
import { CATALOGUE, WeftError, type ErrorCode } from '#base/errors.js';
import type { LogLimits } from './log-writer.js';

export const DEFAULT_LIMITS: LogLimits = { maxBytes: 10 * 1024 * 1024, maxFiles: 3 };
const LEAST_MAX_BYTES = 4 * 1024;
const MOST_MAX_FILES = 1_000;
/** A longer request is no request of ours. */
export const MAX_REQUEST_BYTES = 64 * 1024;

/** One container's log: where its text comes from and where it goes. */
export interface LogSource extends LogLimits {
  /** Id of the container (or task), unique on the node. */
  container: string;
  /** Paths of the FIFOs, made if they are not there. A container with a terminal has no stderr. */
  stdout: string;
  stderr?: string;
  /** Path of a FIFO, made if it is not there, that is the container's input. Nobody writes to it: the input is empty, and does not end. */
  stdin?: string;
  /** Nothing is kept: what is read is thrown away, and the log says so. */
  discard?: boolean;
  /** The log file; rotated ones stand beside it as `file.1` and so on. */
  file: string;
}

/** The limits may be left out: 10 MiB, 3 files. */
export type OpenRequest = Omit<LogSource, 'maxBytes' | 'maxFiles'> & Partial<LogLimits>;

/** A source that is open, as `list` tells it. */
export interface OpenLog extends LogSource {
  /** Bytes read from the container since the keeper opened the source. */
  readBytes: number;
  /** Bytes dropped because the disk did not take them, and not yet remarked on in the log. */
  lostBytes: number;
}

export type KeeperRequest =
  | { verb: 'open'; source: LogSource }
  | { verb: 'close'; container: string; remove: boolean }
  | { verb: 'flush'; container: string }
  | { verb: 'tap'; container: string }
  | { verb: 'list' };

const CONTAINER = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;

type Fields = Record<string, unknown>;

const bad = (what: string): WeftError => new WeftError('BAD_VALUE', what);

export function fieldsOf(value: unknown): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad('an object is expected');
  return value as Fields;
}

function containerOf(fields: Fields): string {
  const { container } = fields;
  if (typeof container !== 'string' || !CONTAINER.test(container))
    throw bad('"container" must be an id: letters, digits, "_", "." and "-"');
  return container;
}

function pathOf(fields: Fields, key: string): string {
  const path = fields[key];
  if (typeof path !== 'string' || !isAbsolute(path) || path.includes('\0')) throw bad(`"${key}" must be an absolute path`);
  return path;
}

function countOf(fields: Fields, key: string, fallback: number, least: number, most: number): number {
  const value = fields[key] ?? fallback;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < least || value > most) {
    throw bad(`"${key}" must be a whole number from ${least} to ${most}`);
  }
  return value;
}

/** @throws BAD_VALUE */
export function decodeSource(value: unknown): LogSource {
  const fields = fieldsOf(value);
  const source: LogSource = {
    container: containerOf(fields),
    stdout: pathOf(fields, 'stdout'),
    file: pathOf(fields, 'file'),
    maxBytes: countOf(fields, 'maxBytes', DEFAULT_LIMITS.maxBytes, LEAST_MAX_BYTES, Number.MAX_SAFE_INTEGER),
    maxFiles: countOf(fields, 'maxFiles', DEFAULT_LIMITS.maxFiles, 1, MOST_MAX_FILES),
  };
  if (fields['stderr'] !== undefined) source.stderr = pathOf(fields, 'stderr');
  if (fields['stdin'] !== undefined) source.stdin = pathOf(fields, 'stdin');
  if (fields['discard'] === true) source.discard = true;
  const paths = [source.stdout, source.stderr, source.stdin, source.file].filter((path) => path !== undefined);
  if (new Set(paths).size < paths.length) throw bad('stdin, stdout, stderr and file must differ');
  return source;
}

/** @throws BAD_VALUE */
export function decodeRequest(value: unknown): KeeperRequest {
  const fields = fieldsOf(value);
  switch (fields['verb']) {
    case 'open':
      return { verb: 'open', source: decodeSource(fields) };
    case 'close':
      return { verb: 'close', container: containerOf(fields), remove: fields['remove'] === true };
    case 'flush':
      return { verb: 'flush', container: containerOf(fields) };
    case 'tap':
      return { verb: 'tap', container: containerOf(fields) };
    case 'list':
      return { verb: 'list' };
    default:
      throw bad('"verb" must be open, close, flush, tap or list');
  }
}

/** What a container printed, as it came: pushed to a connection that tapped its log, beside the answers. */
export interface TapChunk {
  stream: 'stdout' | 'stderr';
  data: Buffer;
}

/** More than this of one read goes in several lines. */
const TAP_BYTES = 32 * 1024;

/** Lines of the protocol, each with its end. */
export function encodeTap({ stream, data }: TapChunk): string {
  const lines: string[] = [];
  for (let at = 0; at < data.length; at += TAP_BYTES)
    lines.push(`${JSON.stringify({ tap: stream, data: data.subarray(at, at + TAP_BYTES).toString('base64') })}\n`);
  return lines.join('');
}

/** Undefined for a line that is an answer. @throws BAD_VALUE */
export function decodeTap(fields: Fields): TapChunk | undefined {
  const { tap, data } = fields;
  if (tap === undefined) return undefined;
  if ((tap !== 'stdout' && tap !== 'stderr') || typeof data !== 'string') throw bad('a piece of output has a stream and data');
  return { stream: tap, data: Buffer.from(data, 'base64') };
}

export interface WireError {
  code: string;
  what: string;
  why?: string;
  hint?: string;
}

export const encodeError = (error: WeftError): WireError => ({ code: error.code, what: error.what, why: error.why, hint: error.hint });

/** The error that the keeper sent, as one of ours. */
export function decodeError(value: unknown): WeftError {
  const { code, what, why, hint } = fieldsOf(value);
  const text = (v: unknown): string | undefined => (typeof v === 'string' ? v : undefined);
  const known = typeof code === 'string' && Object.hasOwn(CATALOGUE, code) ? (code as ErrorCode) : 'INTERNAL';
  return new WeftError(known, { what: text(what) ?? 'the log keeper failed', why: text(why), hint: text(hint) });
}

/** Cuts a stream of bytes into lines of text; gives them to `onLine`. @throws BAD_VALUE when one is too long */
export function requestLines(onLine: (line: string) => void): (chunk: Buffer) => void {
  let rest = '';
  const decoder = new TextDecoder();
  return (chunk) => {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > MAX_REQUEST_BYTES) throw bad('the request is too long');
    for (const line of lines) if (line !== '') onLine(line);
  };
}
