/** Plain values → YAML, the plain block form that Compose prints: two spaces, texts in quotes where they need them. */
import type { Plain } from './render-model.js';

/** Read as something else than a text by YAML 1.1 or 1.2 when it stands without quotes. */
const OTHER_TYPE =
  /^(?:~|null|true|false|yes|no|on|off|y|n|[-+]?(?:\d[\d_]*(?:\.[\d_]*)?(?:e[-+]?\d+)?|\.\d[\d_]*(?:e[-+]?\d+)?|0x[\da-f_]+|0o?[0-7_]+|0b[01_]+|\.inf|\.nan)|\d+(?::[0-5]?\d)+(?:\.\d*)?|\d{4}-\d{1,2}-\d{1,2}.*|<<|=)$/i;
/** Characters that only an escape can hold. */
const UNPRINTABLE = /(?!\t)[\p{Cc}\ufeff\u2028\u2029]/u;
const PLAIN = /^[^\s\-?:,[\]{}#&*!|>'"%@`]/;
const DASHED = /^[-?:][^\s,[\]{}]/;

export function renderYaml(value: Plain): string {
  const out: string[] = [];
  if (isBranch(value)) branch(out, value, '');
  else out.push(`${scalar(value)}\n`);
  return out.join('');
}

const isBranch = (value: Plain): value is Plain[] | { [key: string]: Plain } =>
  typeof value === 'object' && value !== null && (Array.isArray(value) ? value.length > 0 : Object.keys(value).length > 0);

function branch(out: string[], value: Plain[] | { [key: string]: Plain }, indent: string): void {
  if (Array.isArray(value)) return value.forEach((item) => listItem(out, item, indent));
  for (const [key, inner] of Object.entries(value)) entry(out, key, inner, indent);
}

function entry(out: string[], key: string, value: Plain, indent: string): void {
  out.push(indent, text(key), ':');
  if (isBranch(value)) {
    out.push('\n');
    branch(out, value, `${indent}  `);
  } else if (isBlock(value)) block(out, value, `${indent}  `);
  else out.push(' ', scalar(value), '\n');
}

/** A map begins on the line of its dash. */
function listItem(out: string[], value: Plain, indent: string): void {
  if (!isBranch(value)) {
    out.push(indent, '-');
    if (isBlock(value)) block(out, value, `${indent}  `);
    else out.push(' ', scalar(value), '\n');
    return;
  }
  const inner: string[] = [];
  branch(inner, value, `${indent}  `);
  const first = inner.findIndex((part) => part !== '');
  inner[first] = `${indent}- ${(inner[first] ?? '').slice(indent.length + 2)}`;
  out.push(...inner);
}

/** Several lines are a literal block, where YAML can hold them in one. */
const isBlock = (value: Plain): value is string =>
  typeof value === 'string' &&
  value.includes('\n') &&
  /^[^\s\n]/.test(value) &&
  !/[^\S\n]\n|[^\S\n]$/.test(value) &&
  !value.split('\n').some((line) => UNPRINTABLE.test(line));

function block(out: string[], value: string, indent: string): void {
  const keep = value.endsWith('\n\n') ? '+' : value.endsWith('\n') ? '' : '-';
  const lines = (value.endsWith('\n') ? value.slice(0, -1) : value).split('\n');
  out.push(` |${keep}\n`);
  for (const line of lines) out.push(line === '' ? '\n' : `${indent}${line}\n`);
}

function scalar(value: Plain): string {
  if (typeof value === 'string') return text(value);
  return Array.isArray(value) ? '[]' : value === null ? 'null' : typeof value === 'object' ? '{}' : String(value);
}

function text(value: string): string {
  const special = UNPRINTABLE.test(value);
  if (!special && (PLAIN.test(value) || DASHED.test(value)) && !OTHER_TYPE.test(value) && !/: |:$| #|\s$|\t/.test(value)) return value;
  return special || OTHER_TYPE.test(value) || value === '' ? escaped(value) : `'${value.replaceAll("'", "''")}'`;
}

const escaped = (value: string): string =>
  JSON.stringify(value).replace(/[\p{Cc}\ufeff\u2028\u2029]/gu, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
