/** Where the fast reader stands in a text, and how it moves on. */
import type { Position } from './issue.js';
import type { ScalarValue } from './tree.js';

/** The text is for the full parser. */
export class Leave extends Error {}

export class Cursor {
  protected readonly text: string;
  protected readonly file: string;
  /** Where reading goes on. */
  protected at = 0;
  protected line = 1;
  /** Where the line begins. */
  protected lineStart = 0;

  constructor(text: string, file: string) {
    this.text = text;
    this.file = file;
  }

  protected get column(): number {
    return this.at - this.lineStart;
  }

  protected place(): Position {
    return { file: this.file, line: this.line, column: this.at - this.lineStart + 1 };
  }

  protected newLine(): void {
    if (this.text[this.at] === '\r') this.at++;
    this.at++;
    this.line++;
    this.lineStart = this.at;
  }

  protected isLineEnd(at = this.at): boolean {
    const c = this.text.charCodeAt(at);
    return at >= this.text.length || c === 10 || c === 13;
  }

  protected skipSpaces(): void {
    while (this.text.charCodeAt(this.at) === 32) this.at++;
  }

  /** Past what is left of the line, which may only be a comment. */
  protected toLineEnd(): void {
    const start = this.at;
    while (this.text[this.at] === ' ' || this.text[this.at] === '\t') this.at++;
    if (this.text[this.at] === '#') {
      if (this.at === start) throw new Leave();
      while (!this.isLineEnd()) this.at++;
    }
    if (!this.isLineEnd()) throw new Leave();
  }

  /** To the next character that is neither blank nor comment, at the beginning of a line's text. */
  protected nextContent(): void {
    for (;;) {
      this.skipSpaces();
      if (this.at >= this.text.length) return;
      if (this.text[this.at] === '#') while (!this.isLineEnd()) this.at++;
      else if (this.text[this.at] === '\t') this.toLineEnd();
      else if (!this.isLineEnd()) return;
      if (this.at < this.text.length) this.newLine();
    }
  }

  /** The places of the "$" of a text, where the file has as many. */
  protected dollars(text: string, start: number, end: number): Pick<ScalarValue, 'dollars'> {
    if (!text.includes('$')) return {};
    const dollars: Position[] = [];
    for (let i = this.text.indexOf('$', start); i >= 0 && i < end; i = this.text.indexOf('$', i + 1)) dollars.push(this.placeOf(i));
    return dollars.length === text.split('$').length - 1 ? { dollars } : {};
  }

  protected placeOf(index: number): Position {
    const before = this.text.lastIndexOf('\n', index - 1);
    let line = this.line;
    for (let i = this.text.indexOf('\n', index); i >= 0 && i < this.at; i = this.text.indexOf('\n', i + 1)) line--;
    return { file: this.file, line, column: index - before };
  }
}
