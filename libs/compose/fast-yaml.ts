/**
 * The quick way from YAML to a tree: the events of js-yaml's parser, which say where in the text everything stands. What it
 * does not know for sure, errors too, it leaves to the full parser (full-yaml.ts), which takes many times as long and finds
 * all errors of a text: a tree is returned only where both return the same one, places and all, which a property test checks.
 */
import {
  COLLECTION_STYLE,
  EVENT_ID,
  getScalarValue,
  parseEvents,
  SCALAR_STYLE,
  type AliasEvent,
  type Event,
  type MappingEvent,
  type ScalarEvent,
  type SequenceEvent,
} from 'js-yaml';
import type { Position } from './issue.js';
import { Places } from './places.js';
import { plainValue } from './plain-value.js';
import {
  mergeInto,
  type Entry,
  type ListValue,
  type MapValue,
  type MergeBudget,
  type MergeTag,
  type ScalarValue,
  type Value,
} from './tree.js';

const MAX_DEPTH = 60;
/** Rare, and the two parsers are not of one mind about them: tabs before text, directives, several documents, odd line ends. */
const ODD = /^\uFEFF|^%|^\.\.\.|^\t|\n[ ]*\t|\n%|\n\.\.\.|\n---|^ +---|\r(?!\n)|[\u2028\u2029\u0085\0]/;
const MERGE_TAGS: Readonly<Record<string, MergeTag>> = { '!reset': 'reset', '!override': 'override' };

/** The text is for the full parser. */
class Leave extends Error {}

/** undefined: not for this reader. */
export function readFast(text: string, file: string): Value | undefined {
  if (ODD.test(text)) return undefined;
  let parsed = text;
  let events = tryEvents(text);
  if (!events && /\n *[\]}]/.test(text)) {
    const deep = deepBrackets(text);
    events = tryEvents((parsed = deep.text));
    if (events?.some((e) => isTextAt(e, deep.moved))) return undefined;
  }
  if (!events) return undefined;
  try {
    return new TreeBuilder(text, parsed, file).build(events);
  } catch (error) {
    if (error instanceof Leave) return undefined;
    throw error;
  }
}

/** undefined for whatever js-yaml finds wrong: the full parser says it better. */
function tryEvents(text: string): Event[] | undefined {
  try {
    return parseEvents(text, { maxDepth: MAX_DEPTH });
  } catch {
    return undefined;
  }
}

/**
 * By the letter of YAML a closing bracket is deeper than the key whose value it ends, and js-yaml insists. Everybody else
 * takes it in the key's column, too, where formatters put it: here it then stands behind the line before, at the same offset
 * (unless a comment would swallow it there).
 */
function deepBrackets(text: string): { text: string; moved: number[] } {
  const columns: number[] = [];
  const moved: number[] = [];
  let before = '';
  const deep = text.replace(
    /(^|\n)( *)([\]}])?((?:- +)*)(.*)/g,
    (line, begin: string, indent: string, closing: string | undefined, dashes: string, rest: string, offset: number) => {
      const isInKeysColumn = closing !== undefined && columns.pop() === indent.length && !before.includes('#');
      if (/[[{] *\r?$/.test(rest)) columns.push(indent.length + dashes.length);
      before = line;
      if (!isInKeysColumn) return line;
      moved.push(offset + begin.length + indent.length);
      return ` ${line.slice(1)}`;
    },
  );
  return { text: deep, moved };
}

/** Whether one of these offsets lies in a text: a bracket there ends nothing. */
const isTextAt = (event: Event, offsets: readonly number[]): boolean =>
  event.type === EVENT_ID.SCALAR && offsets.some((at) => event.valueStart <= at && at < event.valueEnd);

interface ListFrame {
  value: ListValue;
  anchor?: string;
  isFlow: boolean;
}
interface MapFrame {
  value: MapValue;
  anchor?: string;
  isFlow: boolean;
  own: Map<string, Entry>;
  merges: Entry[];
  /** That was read, and waits for its value. */
  key?: { key: string; at: Position };
}

class TreeBuilder {
  readonly #text: string;
  /** What the events are of: the text, but for brackets that were moved. */
  readonly #parsed: string;
  readonly #places: Places;
  /** undefined while the anchored value is being read. */
  readonly #anchors = new Map<string, Value | undefined>();
  readonly #budget: MergeBudget = { merged: 0 };
  /** Collections that are open, outermost first. */
  readonly #open: (ListFrame | MapFrame)[] = [];
  /** Behind what was read last. */
  #end = 0;
  #root: Value | undefined;

  constructor(text: string, parsed: string, file: string) {
    this.#text = text;
    this.#parsed = parsed;
    this.#places = new Places(text, file);
  }

  build(events: readonly Event[]): Value {
    // The first opens the document, the last closes it: more of them, and directives, are rare.
    const [document] = events;
    if (document?.type !== EVENT_ID.DOCUMENT || document.directives.length > 0) throw new Leave();
    for (const event of events.slice(1, -1)) this.#take(event);
    if (!this.#root || this.#open.length > 0) throw new Leave();
    return this.#root;
  }

  #take(event: Event): void {
    switch (event.type) {
      case EVENT_ID.SCALAR:
        return this.#scalar(event);
      case EVENT_ID.ALIAS:
        return this.#add(this.#alias(event));
      case EVENT_ID.MAPPING:
        return this.#begin(event, { kind: 'map', at: this.#places.at(event.start), entries: [] });
      case EVENT_ID.SEQUENCE:
        return this.#begin(event, { kind: 'list', at: this.#places.at(event.start), items: [] });
      case EVENT_ID.POP:
        return this.#close();
      default:
        throw new Leave();
    }
  }

  #begin(event: MappingEvent | SequenceEvent, value: MapValue | ListValue): void {
    const anchor = this.#properties(event, value);
    this.#end = event.start;
    const isFlow = event.style === COLLECTION_STYLE.FLOW;
    this.#open.push(value.kind === 'list' ? { value, anchor, isFlow } : { value, anchor, isFlow, own: new Map(), merges: [] });
  }

  #close(): void {
    const frame = this.#open.pop();
    if (!frame) throw new Leave();
    if ('own' in frame) {
      if (frame.key) throw new Leave();
      for (const merge of frame.merges) if (mergeInto(this.#budget, frame.own, merge)) throw new Leave();
      frame.value.entries = [...frame.own.values()];
    }
    if (frame.anchor !== undefined) this.#anchors.set(frame.anchor, frame.value);
    this.#add(frame.value);
  }

  /** Puts a value that is complete where it belongs. */
  #add(value: Value): void {
    const frame = this.#open.at(-1);
    if (!frame) {
      if (this.#root) throw new Leave();
      this.#root = value;
    } else if (!('own' in frame)) frame.value.items.push(value);
    else if (!frame.key) throw new Leave();
    else {
      const entry = { ...frame.key, value };
      frame.key = undefined;
      if (entry.key === '<<') frame.merges.push(entry);
      else if (frame.own.has(entry.key)) throw new Leave();
      else frame.own.set(entry.key, entry);
    }
  }

  /** Takes the tag over. @returns the anchor, which stands for nothing until the value is complete */
  #properties(event: MappingEvent | SequenceEvent | ScalarEvent, value: Value): string | undefined {
    this.#checkBlanks(event.anchorStart - 1, event.anchorEnd);
    this.#checkBlanks(event.tagStart, event.tagEnd);
    if (event.tagStart >= 0) {
      const tag = MERGE_TAGS[this.#text.slice(event.tagStart, event.tagEnd)];
      if (!tag) throw new Leave();
      value.tag = tag;
    }
    if (event.anchorStart < 0) return undefined;
    const anchor = this.#text.slice(event.anchorStart, event.anchorEnd);
    this.#anchors.set(anchor, undefined);
    return anchor;
  }

  /** Around an anchor or a tag; the two parsers are not of one mind about other characters there. */
  #checkBlanks(start: number, end: number): void {
    if (end >= 0 && !(this.#text[start - 1] === ' ' && ' \r\n'.includes(this.#text[end] ?? '\n'))) throw new Leave();
  }

  #alias(event: AliasEvent): Value {
    const found = this.#anchors.get(this.#text.slice(event.anchorStart, event.anchorEnd));
    if (!found) throw new Leave();
    this.#end = event.anchorEnd;
    return found;
  }

  #scalar(event: ScalarEvent): void {
    const frame = this.#open.at(-1);
    // A file that is one word is no compose file; a bracket that was moved into a text was none.
    if (!frame || !this.#isUnmoved(event)) throw new Leave();
    if ('own' in frame && !frame.key) {
      frame.key = this.#key(event);
      return;
    }
    const value = this.#scalarValue(event);
    const anchor = this.#properties(event, value);
    if (anchor !== undefined) this.#anchors.set(anchor, value);
    this.#add(value);
  }

  #isUnmoved({ valueStart, valueEnd }: ScalarEvent): boolean {
    return this.#parsed === this.#text || this.#parsed.slice(valueStart, valueEnd) === this.#text.slice(valueStart, valueEnd);
  }

  #key(event: ScalarEvent): { key: string; at: Position } {
    const isPlain = event.style === SCALAR_STYLE.PLAIN;
    const isQuoted = event.style === SCALAR_STYLE.SINGLE_QUOTED || event.style === SCALAR_STYLE.DOUBLE_QUOTED;
    if (event.valueStart < 0 || event.anchorStart >= 0 || event.tagStart >= 0 || !(isPlain || isQuoted)) throw new Leave();
    const key = getScalarValue(this.#text, event);
    if (isPlain && plainValue(key) === null) throw new Leave();
    const start = event.valueStart - (isQuoted ? 1 : 0);
    if (/(?:^|\s)\?\s*$/.test(this.#text.slice(this.#end, start))) throw new Leave();
    this.#end = event.valueEnd + (isQuoted ? 1 : 0);
    return { key, at: this.#places.at(start) };
  }

  #scalarValue(event: ScalarEvent): ScalarValue {
    const text = getScalarValue(this.#text, event);
    switch (event.style) {
      case SCALAR_STYLE.PLAIN:
        return event.valueStart < 0 ? this.#nothing(event) : this.#plain(event, text);
      case SCALAR_STYLE.SINGLE_QUOTED:
      case SCALAR_STYLE.DOUBLE_QUOTED:
        this.#end = event.valueEnd + 1;
        return this.#written(event.valueStart - 1, 1, text);
      default: {
        const start = this.#blockHeader(event);
        this.#end = event.valueEnd;
        return this.#written(start, undefined, text);
      }
    }
  }

  #plain(event: ScalarEvent, text: string): ScalarValue {
    this.#end = event.valueEnd;
    const value = plainValue(text);
    if (value !== undefined) return { kind: 'scalar', at: this.#places.at(event.valueStart), value, text };
    return this.#written(event.valueStart, 0, text);
  }

  /** @param offset from there to the first character of the text, where the text stands as it is */
  #written(start: number, offset: 0 | 1 | undefined, text: string): ScalarValue {
    const scalar: ScalarValue = { kind: 'scalar', at: this.#places.at(start), value: text, text };
    if (offset !== undefined && this.#text.startsWith(text, start + offset) && (offset === 0 || !text.includes('\n')))
      scalar.offset = offset;
    else if (text.includes('$')) {
      const dollars = this.#dollars(start);
      if (dollars.length === text.split('$').length - 1) scalar.dollars = dollars;
    }
    return scalar;
  }

  /** The places of every "$" up to where reading stands. */
  #dollars(start: number): Position[] {
    const found: Position[] = [];
    for (let i = this.#text.indexOf('$', start); i >= 0 && i < this.#end; i = this.#text.indexOf('$', i + 1))
      found.push(this.#places.at(i));
    return found;
  }

  /** A value that is not there stands behind what says that there is one: ":", "-", an anchor or a tag. */
  #nothing(event: ScalarEvent): ScalarValue {
    if (this.#open.at(-1)?.isFlow) throw new Leave();
    let at = Math.max(event.anchorEnd, event.tagEnd);
    if (at < 0) at = this.#skip(this.#end, /[:\-?]/y) + 1;
    while (this.#text[at] === ' ' || this.#text[at] === '\t') at++;
    this.#end = at;
    return { kind: 'scalar', at: this.#places.at(at), value: null, text: '' };
  }

  /** Where the "|" or ">" of a block scalar stands. */
  #blockHeader(event: ScalarEvent): number {
    const properties = Math.max(event.anchorEnd, event.tagEnd);
    const start = this.#skip(Math.max(this.#end, properties), /[|>]/y);
    // An indentation that is said is rare, and read in two ways.
    if (/^.[+-]?\d/.test(this.#text.slice(start, start + 3))) throw new Leave();
    return start;
  }

  /** The next place that fits, over blanks, comments, line ends, and what closes collections or opens values. */
  #skip(from: number, wanted: RegExp): number {
    for (let i = from; i < this.#text.length; i++) {
      wanted.lastIndex = i;
      if (wanted.test(this.#text)) return i;
      const c = this.#text.charAt(i);
      if (c === '#') i = this.#text.indexOf('\n', i);
      else if (!' \t\r\n]},:-?'.includes(c)) throw new Leave();
      if (i < 0) break;
    }
    throw new Leave();
  }
}
