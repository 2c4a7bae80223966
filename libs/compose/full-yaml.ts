/**
 * Any YAML 1.2 text → a small tree that knows where everything stands. The `yaml` package parses; this file resolves anchors,
 * aliases and merge keys (`<<`) itself, for two reasons: each value keeps its place in the file, and an alias is a shared
 * reference, so a file of aliases of aliases stays as small in memory as it is on disk ("billion laughs").
 */
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parseAllDocuments,
  Scalar,
  type Node,
  type Pair,
  type YAMLMap,
  type YAMLSeq,
} from 'yaml';
import { messageOf } from '#base/errors.js';
import { plainValue } from './plain-value.js';
import { ComposeErrors, joinPath, quote, type Position } from './issue.js';
import {
  MAX_MERGED_ENTRIES,
  mergeInto,
  type Entry,
  type ListValue,
  type MapValue,
  type MergeTag,
  type ScalarValue,
  type Value,
} from './tree.js';

export type Fault = (at: Position, path: string, message: string, hint?: string) => void;

const MAX_DEPTH = 64;

interface Reading {
  file: string;
  text: string;
  lines: LineCounter;
  fault: Fault;
  /** undefined while the anchored node is still being read: an alias to it would be a circle. */
  anchors: Map<string, Value | undefined>;
  merged: number;
}

/**
 * The trees of the text's documents (nearly always one); undefined when it cannot be read at all. Every problem went to `fault`.
 * @param file as it shall appear in places
 */
export function readFull(text: string, file: string, fault: Fault): Value[] | undefined {
  const START: Position = { file, line: 1, column: 1 };
  const reading: Reading = { file, text, lines: new LineCounter(), fault, anchors: new Map(), merged: 0 };
  try {
    // The parser's own check for duplicate keys compares each with each: it is done here, by a map.
    const parsed = parseAllDocuments(text, {
      version: '1.2',
      merge: false,
      uniqueKeys: false,
      prettyErrors: false,
      lineCounter: reading.lines,
      logLevel: 'error',
    });
    const documents = Array.isArray(parsed) ? parsed : [];
    const errors = documents.flatMap((document) => document.errors);
    // The parser recurses, and reports the end of the stack as one error among others.
    if (errors.some((error) => error.message.includes('call stack'))) throw new RangeError('too deep');
    for (const error of errors) fault(position(reading, error.pos[0]), '', `not valid YAML: ${firstLine(error.message)}`);
    if (errors.length > 0) return undefined;
    if (documents.length === 0) return [nothing(START)];
    return documents.map((document) => {
      reading.anchors.clear();
      return convert(reading, document.contents, START, '', 0);
    });
  } catch (error) {
    if (error instanceof ComposeErrors) throw error;
    fault(
      START,
      '',
      error instanceof RangeError ? 'the file is nested too deeply' : `the file cannot be read as YAML: ${messageOf(error)}`,
    );
    return undefined;
  }
}

const firstLine = (text: string): string => (text.split('\n', 1)[0] ?? text).slice(0, 200);

function position(r: Reading, offset: number): Position {
  const { line, col } = r.lines.linePos(Math.min(offset, r.text.length));
  return { file: r.file, line: Math.max(1, line), column: Math.max(1, col) };
}

function convert(r: Reading, node: Node | null | undefined, fallback: Position, path: string, depth: number): Value {
  if (!node) return nothing(fallback);
  const at = node.range ? position(r, node.range[0]) : fallback;
  if (depth > MAX_DEPTH) {
    r.fault(at, path, `nested deeper than ${MAX_DEPTH} levels`);
    return nothing(at);
  }
  if (isAlias(node)) return resolveAlias(r, node.source, at, path);
  refuseTag(r, node, at, path);
  const anchor = 'anchor' in node && typeof node.anchor === 'string' ? node.anchor : undefined;
  if (anchor !== undefined) r.anchors.set(anchor, undefined);
  const value = convertNode(r, node, at, path, depth);
  const tag = MERGE_TAGS[node.tag ?? ''];
  if (tag) value.tag = tag;
  if (anchor !== undefined) r.anchors.set(anchor, value);
  return value;
}

function convertNode(r: Reading, node: Node, at: Position, path: string, depth: number): Value {
  if (isMap(node)) return convertMap(r, node, at, path, depth);
  if (isSeq(node)) return convertList(r, node, at, path, depth);
  if (isScalar(node)) return convertScalar(r, node, at);
  return nothing(at);
}

const nothing = (at: Position): ScalarValue => ({ kind: 'scalar', at, value: null, text: '' });

function resolveAlias(r: Reading, name: string, at: Position, path: string): Value {
  const target = r.anchors.get(name);
  if (target) return target;
  r.fault(
    at,
    path,
    r.anchors.has(name) ? `the alias *${name} is inside the value it stands for` : `there is no anchor &${name} above this alias`,
  );
  return nothing(at);
}

const MERGE_TAGS: Readonly<Record<string, MergeTag>> = { '!reset': 'reset', '!override': 'override' };
const CORE_TAG = /^(!|tag:yaml\.org,2002:(str|int|float|bool|null|map|seq))$/;

function refuseTag(r: Reading, node: Node, at: Position, path: string): void {
  if (node.tag !== undefined && !CORE_TAG.test(node.tag) && !Object.hasOwn(MERGE_TAGS, node.tag))
    r.fault(at, path, `the YAML tag ${quote(node.tag)} is not supported`);
}

function convertList(r: Reading, node: YAMLSeq, at: Position, path: string, depth: number): ListValue {
  const items = node.items.map((item, i) => convert(r, item as Node | null, at, `${path}[${i}]`, depth + 1));
  return { kind: 'list', at, items };
}

function convertScalar(r: Reading, node: Scalar, at: Position): ScalarValue {
  const raw = octal(node) ?? untagged(node);
  if (typeof raw === 'string') return { kind: 'scalar', at, value: raw, text: raw, ...offsetOf(r, node, raw) };
  const text = node.source ?? String(raw);
  if (raw === null || typeof raw === 'boolean' || typeof raw === 'number') return { kind: 'scalar', at, value: raw, text };
  return { kind: 'scalar', at, value: text, text };
}

/** A tag of Compose changes nothing about what a plain scalar means. */
function untagged(node: Scalar): unknown {
  if (node.type !== Scalar.PLAIN || !Object.hasOwn(MERGE_TAGS, node.tag ?? '')) return node.value;
  const found = plainValue(node.source ?? '');
  return found === undefined ? node.value : found;
}

/** Compose reads a plain number with a leading zero in octal (`mode: 0440`), which YAML 1.2 does not. */
function octal(node: Scalar): number | undefined {
  return typeof node.value === 'number' && node.type === Scalar.PLAIN && /^[-+]?0[0-7]+$/.test(node.source ?? '')
    ? parseInt(node.source ?? '', 8)
    : undefined;
}

function offsetOf(r: Reading, node: Scalar, value: string): Pick<ScalarValue, 'offset' | 'dollars'> {
  if (!node.range) return {};
  const start = node.range[0];
  if (node.type === Scalar.PLAIN && r.text.startsWith(value, start)) return { offset: 0 };
  const quoted = node.type === Scalar.QUOTE_DOUBLE || node.type === Scalar.QUOTE_SINGLE;
  if (quoted && r.text.startsWith(value, start + 1) && !value.includes('\n')) return { offset: 1 };
  return value.includes('$') ? dollarsOf(r, node.range[0], node.range[1], value) : {};
}

/** The places of the "$" of a value, where the file has as many as the value. */
function dollarsOf(r: Reading, start: number, end: number, value: string): Pick<ScalarValue, 'dollars'> {
  const places: Position[] = [];
  for (let i = r.text.indexOf('$', start); i >= 0 && i < end; i = r.text.indexOf('$', i + 1)) places.push(position(r, i));
  return places.length === value.split('$').length - 1 ? { dollars: places } : {};
}

function convertMap(r: Reading, node: YAMLMap, at: Position, path: string, depth: number): MapValue {
  const own = new Map<string, Entry>();
  const merges: { value: Value; at: Position }[] = [];
  for (const pair of node.items as Pair<Node | null, Node | null>[]) {
    const entry = convertPair(r, pair, at, path, depth);
    if (!entry) continue;
    if (entry.key === '<<') merges.push(entry);
    else if (!own.has(entry.key)) own.set(entry.key, entry);
    else r.fault(entry.at, joinPath(path, entry.key), `this key is already given at line ${own.get(entry.key)?.at.line}, in the same map`);
  }
  for (const merge of merges) {
    const problem = mergeInto(r, own, merge);
    if (problem === 'not a map') r.fault(merge.at, path, 'what follows << must be an alias of a map, or a list of them');
    if (problem === 'too many') r.fault(merge.at, path, `the merge keys of this file copy more than ${MAX_MERGED_ENTRIES} entries`);
  }
  return { kind: 'map', at, entries: [...own.values()] };
}

function convertPair(r: Reading, pair: Pair<Node | null, Node | null>, mapAt: Position, path: string, depth: number): Entry | undefined {
  const at = pair.key?.range ? position(r, pair.key.range[0]) : mapAt;
  const key = isAlias(pair.key) ? resolveAlias(r, pair.key.source, at, path) : pair.key && convert(r, pair.key, at, path, depth + 1);
  if (!key || key.kind !== 'scalar' || key.value === null) {
    r.fault(at, path, 'a key must be a plain word or a quoted string');
    return undefined;
  }
  return { key: key.text, at, value: convert(r, pair.value, at, joinPath(path, key.text), depth + 1) };
}
