/**
 * `$VAR` and `${…}` in the values of a compose file, as the Compose Specification has them ("Interpolation"): `:-` `-` a
 * default, `:?` `?` an error, `:+` `+` a replacement, `$$` a dollar sign; the word after an operator is interpolated too.
 */
import { quote } from './issue.js';

export class InterpolationFault extends Error {
  constructor(
    message: string,
    /** Index into the text. */
    readonly index: number,
  ) {
    super(message);
  }
}

type Env = Readonly<Record<string, string>>;
const NAME = /[A-Za-z_][A-Za-z0-9_]*/y;
const OPERATOR = /:?[-?+]/y;
const MAX_NESTING = 16;
const MAX_RESULT_LENGTH = 256 * 1024;

interface State {
  text: string;
  env: Env;
  unset: (name: string) => void;
}

/**
 * @param unset called with the name of each variable that is not set and has no default (it becomes empty)
 * @throws InterpolationFault
 */
export function interpolate(text: string, env: Env, unset: (name: string) => void = () => undefined): string {
  if (!text.includes('$')) return text;
  return expand({ text, env, unset }, 0, 0).value;
}

/** Expands from `start` to the end, or to the `}` that closes an outer `${` (depth > 0). */
function expand(s: State, start: number, depth: number): { value: string; end: number } {
  let value = '';
  let i = start;
  while (i < s.text.length) {
    const c = s.text[i];
    if (c === '}' && depth > 0) break;
    if (c !== '$') {
      const next = nextStop(s.text, i + 1, depth);
      value += s.text.slice(i, next);
      i = next;
      continue;
    }
    const part = dollar(s, i, depth);
    value += part.value;
    i = part.end;
    if (value.length > MAX_RESULT_LENGTH) throw new InterpolationFault(`the value grows past ${MAX_RESULT_LENGTH} characters`, start);
  }
  return { value, end: i };
}

function nextStop(text: string, from: number, depth: number): number {
  let i = from;
  while (i < text.length && text[i] !== '$' && !(depth > 0 && text[i] === '}')) i++;
  return i;
}

function match(pattern: RegExp, text: string, at: number): string | undefined {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0];
}

function dollar(s: State, at: number, depth: number): { value: string; end: number } {
  const next = s.text[at + 1];
  if (next === '$') return { value: '$', end: at + 2 };
  if (next === '{') return braces(s, at, depth);
  const name = match(NAME, s.text, at + 1);
  // Such a "$" stands for itself, as in Compose: `$(date)`.
  if (name === undefined) return { value: '$', end: at + 1 };
  return { value: lookUp(s, name), end: at + 1 + name.length };
}

const own = (env: Env, name: string): string | undefined => (Object.hasOwn(env, name) ? env[name] : undefined);

function lookUp(s: State, name: string): string {
  const found = own(s.env, name);
  if (found === undefined) s.unset(name);
  return found ?? '';
}

function braces(s: State, at: number, depth: number): { value: string; end: number } {
  if (depth >= MAX_NESTING) throw new InterpolationFault('"${" is nested too deeply', at);
  const name = match(NAME, s.text, at + 2);
  if (name === undefined) throw new InterpolationFault('"${" must be followed by a variable name', at);
  let i = at + 2 + name.length;
  const operator = match(OPERATOR, s.text, i) ?? '';
  i += operator.length;
  // The word is only looked at (its variables not reported as unset, its `?` not raised) where it is used.
  const found = own(s.env, name);
  const present = found !== undefined && !(operator.startsWith(':') && found === '');
  const kind = operator.at(-1);
  const wordUsed = kind === '+' ? present : !present;
  const word = kind === undefined ? { value: '', end: i } : wordUsed ? expand(s, i, depth + 1) : skipWord(s, i, depth + 1);
  if (s.text[word.end] !== '}')
    throw new InterpolationFault(`"\${${name}" is not closed by "}" or has an operator that is none of :- - :? ? :+ +`, at);
  const end = word.end + 1;
  switch (kind) {
    case undefined:
      return { value: lookUp(s, name), end };
    case '+':
      return { value: word.value, end };
    case '?':
      if (!present)
        throw new InterpolationFault(`the variable ${name} must be set${word.value ? `: ${quote(word.value).slice(1, -1)}` : ''}`, at);
      return { value: found, end };
    default:
      return { value: present ? found : word.value, end };
  }
}

/** Goes past a word that is not used, with the same rules for what closes it. */
function skipWord(s: State, start: number, depth: number): { value: string; end: number } {
  let open = depth;
  let i = start;
  while (i < s.text.length) {
    if (s.text.startsWith('$$', i)) i += 2;
    else if (s.text.startsWith('${', i)) {
      open++;
      i += 2;
    } else if (s.text[i] === '}') {
      if (open === depth) break;
      open--;
      i++;
    } else i++;
  }
  return { value: '', end: i };
}
