/** Scalars of YAML 1.2 (core schema) for the fast reader: what a plain text means, and what escapes of a quoted one stand for. */

/** @returns undefined for what is a text */
export function plainValue(text: string): number | boolean | null | undefined {
  const first = text.charCodeAt(0);
  // Most plain texts begin with a letter that begins no number, null, true or false.
  if (first > 0x39 && first !== 0x7e && !'nNtTfF'.includes(text.charAt(0))) return undefined;
  if (/^(?:~|null|Null|NULL)?$/.test(text)) return null;
  if (/^(?:true|True|TRUE)$/.test(text)) return true;
  if (/^(?:false|False|FALSE)$/.test(text)) return false;
  // A leading zero is octal to Compose, though not to YAML 1.2.
  if (/^[-+]?0[0-7]+$/.test(text)) return parseInt(text, 8);
  if (/^[-+]?\d+$/.test(text)) return Number(text);
  if (/^0o[0-7]+$/.test(text)) return parseInt(text.slice(2), 8);
  if (/^0x[\da-fA-F]+$/.test(text)) return parseInt(text.slice(2), 16);
  if (/^[-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?$/.test(text)) return Number(text);
  if (/^[-+]?\.(?:inf|Inf|INF)$/.test(text)) return text.startsWith('-') ? -Infinity : Infinity;
  return /^\.(?:nan|NaN|NAN)$/.test(text) ? NaN : undefined;
}

const ESCAPES: Readonly<Record<string, string>> = {
  '0': '\0',
  a: '\x07',
  b: '\b',
  e: '\x1b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  N: '\u0085',
  _: '\u00a0',
  L: '\u2028',
  P: '\u2029',
  ' ': ' ',
  '"': '"',
  '/': '/',
  '\\': '\\',
};
const CODE_DIGITS: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 };

/** The text of a double-quoted scalar on one line; undefined where an escape is unknown. */
export function unescape(raw: string): string | undefined {
  if (!raw.includes('\\')) return raw;
  let out = '';
  for (let i = 0; i < raw.length; i++) {
    const c = raw.charAt(i);
    if (c !== '\\') {
      out += c;
      continue;
    }
    const kind = raw.charAt(++i);
    const digits = CODE_DIGITS[kind];
    if (digits === undefined) {
      const found = ESCAPES[kind];
      if (found === undefined) return undefined;
      out += found;
      continue;
    }
    const code = raw.slice(i + 1, i + 1 + digits);
    if (code.length !== digits || !/^[\da-fA-F]+$/.test(code) || parseInt(code, 16) > 0x10ffff) return undefined;
    out += String.fromCodePoint(parseInt(code, 16));
    i += digits;
  }
  return out;
}

/** The lines of a block scalar → its text. `undefined`: folding that is better left to the full parser. */
export function blockText(lines: readonly string[], folded: boolean, chomp: string): string | undefined {
  let last = lines.length;
  while (last > 0 && lines[last - 1] === '') last--;
  const trailing = lines.length - last;
  const body = lines.slice(0, last);
  if (body.length === 0) return chomp === '+' ? '\n'.repeat(trailing) : '';
  const text = folded ? fold(body) : body.join('\n');
  if (text === undefined) return undefined;
  return text + (chomp === '-' ? '' : chomp === '+' ? '\n'.repeat(trailing + 1) : '\n');
}

/** Line ends become spaces, an empty line a line end. */
export function fold(lines: readonly string[]): string | undefined {
  let out = lines[0] ?? '';
  if (out === '' || /^[ \t]/.test(out)) return undefined;
  let empty = 0;
  for (const line of lines.slice(1)) {
    if (/^[ \t]/.test(line)) return undefined;
    if (line === '') empty++;
    else {
      out += (empty > 0 ? '\n'.repeat(empty) : ' ') + line;
      empty = 0;
    }
  }
  return out;
}
