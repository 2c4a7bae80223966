/** Offsets in a text → lines and columns, quickly where they are asked for in nearly the order of the text. */
import type { Position } from './issue.js';

export class Places {
  readonly #text: string;
  readonly #file: string;
  /** The line that was asked for last, from 1, and where it begins and ends. */
  #line = 1;
  #start = 0;
  #end: number;

  /** @param file as it shall appear in places */
  constructor(text: string, file: string) {
    this.#text = text;
    this.#file = file;
    this.#end = this.#lineEnd(0);
  }

  /** @param offset in UTF-16 units, as the column is */
  at(offset: number): Position {
    while (offset > this.#end) {
      this.#line++;
      this.#start = this.#end + 1;
      this.#end = this.#lineEnd(this.#start);
    }
    while (offset < this.#start) {
      this.#line--;
      this.#end = this.#start - 1;
      this.#start = this.#text.lastIndexOf('\n', this.#end - 1) + 1;
    }
    return { file: this.#file, line: this.#line, column: offset - this.#start + 1 };
  }

  #lineEnd(from: number): number {
    const found = this.#text.indexOf('\n', from);
    return found < 0 ? this.#text.length : found;
  }
}
