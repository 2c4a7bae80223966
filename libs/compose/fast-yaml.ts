/**
 * A fast reader for the YAML that compose files are written in: block maps and lists, flow collections, all scalar styles,
 * comments, anchors, aliases, merge keys, `!reset` and `!override`. Whatever else stands in a text, errors too, it leaves to
 * the full parser (full-yaml.ts): it returns a tree only where both would return the same one, which a property test checks.
 * Large files are read some ten times faster, which is most of the time that a file takes.
 */
import { Cursor, Leave } from './fast-yaml-cursor.js';
import { blockText, fold, plainValue, unescape } from './fast-yaml-scalars.js';
import type { Position } from './issue.js';
import { mergeInto, type Entry, type MergeBudget, type MergeTag, type ScalarValue, type Value } from './tree.js';

const MAX_DEPTH = 60;

/** undefined: not for this reader. */
export function readFast(text: string, file: string): Value | undefined {
  // What is rare anywhere in a file is not worth a rule: tabs before text, directives, documents, odd line ends.
  if (/^\uFEFF|^%|^\.\.\.|^\t|\n[ ]*\t|\n%|\n\.\.\.|\n---|\r(?!\n)|[\u2028\u2029\u0085\0]/.test(text)) return undefined;
  try {
    return new Reader(text, file).document();
  } catch (error) {
    if (error instanceof Leave) return undefined;
    throw error;
  }
}

interface Properties {
  anchor?: string;
  tag?: MergeTag;
}

class Reader extends Cursor {
  /** Of what the flow collection being read is in. */
  #flowIndent = 0;
  #flowDepth = 0;
  /** undefined while the anchored value is being read. */
  readonly #anchors = new Map<string, Value | undefined>();
  readonly #budget: MergeBudget = { merged: 0 };

  document(): Value {
    if (/^---[ \t]*(\r?\n|$)/.test(this.text)) {
      this.at = 3;
      this.toLineEnd();
    } else if (this.text.startsWith('---')) throw new Leave();
    this.nextContent();
    if (this.at >= this.text.length) throw new Leave();
    const value = this.#block(-1, 0);
    this.nextContent();
    if (this.at < this.text.length) throw new Leave();
    return value;
  }

  /** A value that begins here, at the first character of its line's text or after "- ". @param indent of what it is in */
  #block(indent: number, depth: number): Value {
    if (depth > MAX_DEPTH || this.column <= indent) throw new Leave();
    if (this.#isDash()) return this.#list(this.column, depth);
    if (this.#keyAhead()) return this.#map(this.column, depth);
    return this.#inline(indent, depth);
  }

  #isDash(): boolean {
    return this.text[this.at] === '-' && (this.text[this.at + 1] === ' ' || this.isLineEnd(this.at + 1));
  }

  #list(column: number, depth: number): Value {
    const at = this.place();
    const items: Value[] = [];
    while (this.at < this.text.length && this.column === column && this.#isDash()) {
      this.at++;
      this.skipSpaces();
      items.push(this.#afterIndicator(column, depth));
      this.nextContent();
    }
    if (this.at < this.text.length && this.column > column) throw new Leave();
    return { kind: 'list', at, items };
  }

  /** What follows "- ". */
  #afterIndicator(column: number, depth: number): Value {
    const c = this.text[this.at];
    if (c === '&' || c === '!') return this.#withProperties(column, depth, false);
    if (!this.isLineEnd() && c !== '#') return this.#block(column, depth + 1);
    return this.#nested(column, depth, false);
  }

  /** A value on the lines below, or none. @param sameColumn whether a list may stand in the column of its key */
  #nested(column: number, depth: number, sameColumn: boolean): Value {
    const at = this.place();
    this.toLineEnd();
    this.nextContent();
    if (this.at < this.text.length) {
      if (this.column > column) return this.#block(column, depth + 1);
      if (sameColumn && this.column === column && this.#isDash()) return this.#list(column, depth + 1);
    }
    return { kind: 'scalar', at, value: null, text: '' };
  }

  #map(column: number, depth: number): Value {
    const at = this.place();
    const own = new Map<string, Entry>();
    const merges: Entry[] = [];
    while (this.at < this.text.length && this.column === column) {
      if (this.#isDash()) throw new Leave();
      const keyAt = this.place();
      const key = this.#key();
      const value = this.#value(column, depth);
      if (key === '<<') merges.push({ key, at: keyAt, value });
      else if (own.has(key)) throw new Leave();
      else own.set(key, { key, at: keyAt, value });
      this.nextContent();
    }
    if (this.at < this.text.length && this.column > column) throw new Leave();
    for (const merge of merges) if (mergeInto(this.#budget, own, merge)) throw new Leave();
    return { kind: 'map', at, entries: [...own.values()] };
  }

  /** Whether the text up to ": " on this line is a key. */
  #keyAhead(): boolean {
    const c = this.text[this.at];
    if (c === '"' || c === "'") {
      const end = this.#closingQuote(this.at);
      let i = end + 1;
      while (this.text[i] === ' ') i++;
      return this.text[i] === ':' && (this.text[i + 1] === ' ' || this.isLineEnd(i + 1));
    }
    return this.#plainKeyEnd() >= 0;
  }

  /** Where the ":" after a plain key stands; −1 where none is on this line. */
  #plainKeyEnd(): number {
    if ('[{&*!|>%@`?,]}#'.includes(this.text[this.at] ?? '#')) return -1;
    for (let i = this.at; !this.isLineEnd(i); i++) {
      const c = this.text[i];
      if (c === ':' && (this.text[i + 1] === ' ' || this.isLineEnd(i + 1))) return i;
      if (c === '#' && this.text[i - 1] === ' ') return -1;
      if (c === '\t') throw new Leave();
    }
    return -1;
  }

  #key(): string {
    const c = this.text[this.at];
    let key: string;
    if (c === '"' || c === "'") {
      const end = this.#closingQuote(this.at);
      key = this.#quotedText(this.at, end);
      this.at = end + 1;
      this.skipSpaces();
      if (this.text[this.at] !== ':' || !(this.text[this.at + 1] === ' ' || this.isLineEnd(this.at + 1))) throw new Leave();
    } else {
      const end = this.#plainKeyEnd();
      if (end <= this.at || (c === '-' && this.text[this.at + 1] === ' ')) throw new Leave();
      key = this.text.slice(this.at, end).trimEnd();
      if (key === '' || (key !== '<<' && plainValue(key) === null)) throw new Leave();
      this.at = end;
    }
    this.at++;
    this.skipSpaces();
    return key;
  }

  /** What follows "key: ". */
  #value(column: number, depth: number): Value {
    const c = this.text[this.at];
    if (c === '&' || c === '!') return this.#withProperties(column, depth, true);
    if (this.isLineEnd() || c === '#') return this.#nested(column, depth, true);
    if (this.#isDash() || this.#keyAhead()) throw new Leave();
    return this.#inline(column, depth);
  }

  /** Anchor and tag, then a value. */
  #withProperties(column: number, depth: number, sameColumn: boolean): Value {
    const found: Properties = {};
    for (let c = this.text[this.at]; c === '&' || c === '!'; c = this.text[this.at]) {
      const end = this.#wordEnd();
      const word = this.text.slice(this.at + 1, end);
      if (c === '&' && found.anchor === undefined && /^[\w.-]+$/.test(word)) found.anchor = word;
      else if (c === '!' && found.tag === undefined && (word === 'reset' || word === 'override')) found.tag = word;
      else throw new Leave();
      this.at = end;
      if (this.text[end] !== ' ' && !this.isLineEnd()) throw new Leave();
      this.skipSpaces();
    }
    if (found.anchor !== undefined) this.#anchors.set(found.anchor, undefined);
    const c = this.text[this.at];
    if (c === '*') throw new Leave();
    let value: Value;
    if (this.isLineEnd() || c === '#') value = this.#nested(column, depth, sameColumn);
    else if (this.#isDash() || this.#keyAhead()) throw new Leave();
    else value = this.#inline(column, depth);
    if (found.tag) value.tag = found.tag;
    if (found.anchor !== undefined) this.#anchors.set(found.anchor, value);
    return value;
  }

  #wordEnd(): number {
    let i = this.at + 1;
    while (!this.isLineEnd(i) && !' \t,[]{}'.includes(this.text[i] ?? '')) i++;
    return i;
  }

  /** A scalar, an alias or a flow collection that begins here, and ends its line. */
  #inline(indent: number, depth: number): Value {
    const c = this.text[this.at] ?? '';
    if (c === '|' || c === '>') return this.#blockScalar(indent, c === '>');
    if ('"\'[{*'.includes(c)) {
      this.#flowIndent = indent;
      this.#flowDepth = 0;
      const value = this.#flowValue(depth);
      this.toLineEnd();
      return value;
    }
    return this.#plainBlock(indent);
  }

  /** A plain scalar outside of flow collections: to the end of the line, and on over deeper lines. */
  #plainBlock(indent: number): Value {
    const at = this.place();
    this.#checkPlainStart(false);
    const start = this.at;
    const first = this.#plainLine();
    const lines = [first.text];
    let { end } = first;
    // A comment ends the scalar.
    for (let open = !first.comment; open;) {
      const mark = { at: this.at, line: this.line, lineStart: this.lineStart };
      let empty = 0;
      if (this.at >= this.text.length) break;
      this.newLine();
      for (this.skipSpaces(); this.at < this.text.length && this.isLineEnd(); this.skipSpaces()) {
        empty++;
        this.newLine();
      }
      const c = this.text[this.at];
      if (c === undefined || c === '#' || this.column <= indent) {
        ({ at: this.at, line: this.line, lineStart: this.lineStart } = mark);
        break;
      }
      if (this.#isDash() || '?:%'.includes(c) || this.#keyAhead()) throw new Leave();
      const next = this.#plainLine();
      open = !next.comment;
      end = next.end;
      lines.push(...Array.from({ length: empty }, () => ''), next.text);
    }
    const text = fold(lines);
    if (text === undefined) throw new Leave();
    if (lines.length > 1) return this.#several(at, text, start, end);
    const value = plainValue(text);
    return value === undefined ? { kind: 'scalar', at, value: text, text, offset: 0 } : { kind: 'scalar', at, value, text };
  }

  /** A text over several lines: where its "$" stand is looked up. */
  #several(at: Position, text: string, start: number, end: number): ScalarValue {
    const value = plainValue(text);
    if (value !== undefined) return { kind: 'scalar', at, value, text };
    return { kind: 'scalar', at, value: text, text, ...this.dollars(text, start, end) };
  }

  /** The rest of a line of plain text, without the comment that may follow. */
  #plainLine(): { text: string; comment: boolean; end: number } {
    const start = this.at;
    let end = start;
    let comment = false;
    for (; !this.isLineEnd(this.at); this.at++) {
      const c = this.text[this.at];
      if (c === '\t') throw new Leave();
      comment ||= c === '#' && this.text[this.at - 1] === ' ';
      if (comment) continue;
      if (c === ':' && (this.text[this.at + 1] === ' ' || this.isLineEnd(this.at + 1))) throw new Leave();
      if (c !== ' ') end = this.at + 1;
    }
    return { text: this.text.slice(start, end), comment, end };
  }

  #checkPlainStart(flow: boolean): void {
    const c = this.text[this.at] ?? '';
    const next = this.text[this.at + 1] ?? ' ';
    if (',[]{}#&*!|>\'"%@`'.includes(c)) throw new Leave();
    if ('-?:'.includes(c) && (next === ' ' || next === '\n' || next === '\r' || (flow && ',[]{}'.includes(next)))) throw new Leave();
  }

  #blockScalar(indent: number, folded: boolean): Value {
    const at = this.place();
    this.at++;
    const header = /^[+-]?(?=[ \r\n]|$)/.exec(this.text.slice(this.at, this.at + 2));
    if (!header) throw new Leave();
    this.at += header[0].length;
    this.toLineEnd();
    const start = this.at;
    const { lines, end } = this.#blockLines(indent);
    const text = blockText(lines, folded, header[0]);
    if (text === undefined) throw new Leave();
    return { kind: 'scalar', at, value: text, text, ...this.dollars(text, start, end) };
  }

  /** The lines of a block scalar, without their indent. Ends at the beginning of the line that is not of it. */
  #blockLines(indent: number): { lines: string[]; end: number } {
    const lines: string[] = [];
    let inner: number | undefined;
    while (this.at < this.text.length) {
      const mark = { at: this.at, line: this.line, lineStart: this.lineStart };
      this.newLine();
      if (this.at >= this.text.length) break;
      this.skipSpaces();
      if (this.isLineEnd()) {
        if (this.column > (inner ?? 0)) throw new Leave();
        lines.push('');
        continue;
      }
      if (this.text[this.at] === '\t') throw new Leave();
      inner ??= this.column;
      if (inner <= indent || this.column < inner) {
        ({ at: this.at, line: this.line, lineStart: this.lineStart } = mark);
        break;
      }
      const start = this.lineStart + inner;
      while (!this.isLineEnd()) this.at++;
      lines.push(this.text.slice(start, this.at));
    }
    return { lines, end: this.at };
  }

  /** A value within a flow collection, or one that begins a line of its own. */
  #flowValue(depth: number): Value {
    if (depth > MAX_DEPTH) throw new Leave();
    switch (this.text[this.at]) {
      case '[':
        return this.#flowList(depth);
      case '{':
        return this.#flowMap(depth);
      case '"':
      case "'":
        return this.#quoted();
      case '*':
        return this.#alias();
      case '&':
      case '!':
        throw new Leave();
      default:
        return this.#plainFlow();
    }
  }

  #alias(): Value {
    const end = this.#wordEnd();
    const found = this.#anchors.get(this.text.slice(this.at + 1, end));
    if (!found) throw new Leave();
    this.at = end;
    return found;
  }

  /** Over blanks, line ends and comments. */
  #flowSpace(): void {
    for (;;) {
      const c = this.text[this.at];
      if (c === ' ' || c === '\t') this.at++;
      else if (c === '\n' || c === '\r') {
        this.newLine();
        this.#checkFlowIndent();
      } else if (c === '#' && /[\s]/.test(this.text[this.at - 1] ?? ' ')) while (!this.isLineEnd()) this.at++;
      else return;
    }
  }

  /** Lines of a flow collection are deeper than what it is in; only what closes the outermost may stand in the same column. */
  #checkFlowIndent(): void {
    this.skipSpaces();
    const c = this.text[this.at] ?? '';
    if (this.isLineEnd() || c === '#') return;
    if (this.column < this.#flowIndent || (this.column === this.#flowIndent && (this.#flowDepth > 1 || !']}'.includes(c))))
      throw new Leave();
  }

  #flowList(depth: number): Value {
    const at = this.place();
    const items: Value[] = [];
    this.#flowDepth++;
    this.at++;
    for (this.#flowSpace(); this.text[this.at] !== ']'; this.#flowSpace()) {
      items.push(this.#flowValue(depth + 1));
      this.#flowSpace();
      this.#separator(']');
    }
    this.at++;
    this.#flowDepth--;
    return { kind: 'list', at, items };
  }

  /** A comma, or what closes the collection. */
  #separator(close: string): void {
    if (this.text[this.at] === ',') this.at++;
    else if (this.text[this.at] !== close) throw new Leave();
  }

  #flowMap(depth: number): Value {
    const at = this.place();
    const own = new Map<string, Entry>();
    const merges: Entry[] = [];
    this.#flowDepth++;
    this.at++;
    for (this.#flowSpace(); this.text[this.at] !== '}'; this.#flowSpace()) {
      const keyAt = this.place();
      const quoted = this.text[this.at] === '"' || this.text[this.at] === "'";
      const key = this.#flowValue(depth + 1);
      if (key.kind !== 'scalar' || key.value === null) throw new Leave();
      if (this.text[this.at] !== ':') throw new Leave();
      const next = this.text[this.at + 1] ?? '';
      if (!quoted && !' \r\n'.includes(next)) throw new Leave();
      this.at++;
      this.#flowSpace();
      if (',}'.includes(this.text[this.at] ?? ',')) throw new Leave();
      const value = this.#flowValue(depth + 1);
      if (key.text === '<<') merges.push({ key: '<<', at: keyAt, value });
      else if (own.has(key.text)) throw new Leave();
      else own.set(key.text, { key: key.text, at: keyAt, value });
      this.#flowSpace();
      this.#separator('}');
    }
    this.at++;
    this.#flowDepth--;
    for (const merge of merges) if (mergeInto(this.#budget, own, merge)) throw new Leave();
    return { kind: 'map', at, entries: [...own.values()] };
  }

  #plainFlow(): Value {
    const at = this.place();
    this.#checkPlainStart(true);
    const start = this.at;
    let end = start;
    for (; ; this.at++) {
      const c = this.text[this.at];
      if (c === undefined || c === '\n' || c === '\r' || c === '\t') break;
      if (',[]{}'.includes(c)) break;
      if (c === ':' && /[\s,[\]{}]|^$/.test(this.text[this.at + 1] ?? '')) break;
      if (c === '#' && this.text[this.at - 1] === ' ') break;
      if (c !== ' ') end = this.at + 1;
    }
    const stop = this.text[this.at];
    // Texts that go on over a line end are rare here; a list or map in the middle of a text is an error.
    if (stop === undefined || '\t[{#'.includes(stop)) throw new Leave();
    const text = this.text.slice(start, end);
    if (stop === '\n' || stop === '\r') this.#flowSpace();
    if (!',]}:'.includes(this.text[this.at] ?? '') || text === '') throw new Leave();
    if ((stop === '\n' || stop === '\r') && this.text[this.at] === ':') throw new Leave();
    const value = plainValue(text);
    return value === undefined ? { kind: 'scalar', at, value: text, text, offset: 0 } : { kind: 'scalar', at, value, text };
  }

  /** @throws Leave for a text over several lines */
  #closingQuote(start: number): number {
    const quote = this.text[start];
    for (let i = start + 1; !this.isLineEnd(i); i++) {
      const c = this.text[i];
      if (quote === '"' && c === '\\') i++;
      else if (c === quote) {
        if (quote === "'" && this.text[i + 1] === "'") i++;
        else return i;
      }
    }
    throw new Leave();
  }

  #quotedText(start: number, end: number): string {
    const raw = this.text.slice(start + 1, end);
    const text = this.text[start] === '"' ? unescape(raw) : raw.replaceAll("''", "'");
    if (text === undefined) throw new Leave();
    return text;
  }

  #quoted(): ScalarValue {
    const at = this.place();
    const start = this.at;
    const end = this.#closingQuote(start);
    const text = this.#quotedText(start, end);
    this.at = end + 1;
    if (text.length === end - start - 1 && !text.includes('\n') && this.text.startsWith(text, start + 1))
      return { kind: 'scalar', at, value: text, text, offset: 1 };
    return { kind: 'scalar', at, value: text, text, ...this.dollars(text, start, end + 1) };
  }
}
