/**
 * A command written as one string → its words, by the quoting rules of the POSIX shell (Shell Command Language, §2.2):
 * single quotes, double quotes, backslash. Nothing is expanded and operators (`|`, `>`, `;`) are plain characters, as in
 * Compose: a command that needs a shell names one.
 */

export class WordsFault extends Error {
  constructor(
    message: string,
    readonly index: number,
  ) {
    super(message);
  }
}

const BLANK = /\s/;
/** After a backslash within double quotes only these lose their meaning; before others the backslash stays. */
const ESCAPABLE_IN_DOUBLE = new Set(['$', '`', '"', '\\', '\n']);

/** @throws WordsFault */
export function splitWords(text: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let i = 0;
  while (i < text.length) {
    const c = text[i] as string;
    if (BLANK.test(c)) {
      if (word !== undefined) words.push(word);
      word = undefined;
      i++;
      continue;
    }
    const piece = readPiece(text, i);
    word = (word ?? '') + piece.value;
    i = piece.end;
  }
  if (word !== undefined) words.push(word);
  return words;
}

function readPiece(text: string, at: number): { value: string; end: number } {
  const c = text[at] as string;
  if (c === "'") return singleQuoted(text, at);
  if (c === '"') return doubleQuoted(text, at);
  if (c !== '\\') return { value: c, end: at + 1 };
  const next = text[at + 1];
  if (next === undefined) throw new WordsFault('a backslash at the end escapes nothing', at);
  return { value: next === '\n' ? '' : next, end: at + 2 };
}

function singleQuoted(text: string, at: number): { value: string; end: number } {
  const close = text.indexOf("'", at + 1);
  if (close < 0) throw new WordsFault("a ' is not closed", at);
  return { value: text.slice(at + 1, close), end: close + 1 };
}

function doubleQuoted(text: string, at: number): { value: string; end: number } {
  let value = '';
  for (let i = at + 1; i < text.length; i++) {
    const c = text[i] as string;
    if (c === '"') return { value, end: i + 1 };
    const next = text[i + 1];
    if (c === '\\' && next !== undefined && ESCAPABLE_IN_DOUBLE.has(next)) {
      if (next !== '\n') value += next;
      i++;
    } else value += c;
  }
  throw new WordsFault('a " is not closed', at);
}
