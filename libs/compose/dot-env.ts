/**
 * The `.env` file beside a compose file, and `env_file`: `KEY=value` lines, `export` before them, `#` comments, single quotes (literal),
 * double quotes (\n, \r, \t, \" and \\ have a meaning, variables are put in), multi-line values in quotes. Variables come
 * from the caller's environment, then from the lines above.
 */
import { interpolate, InterpolationFault } from './interpolate.js';

export class DotEnvFault extends Error {
  constructor(
    message: string,
    /** 1-based. */
    readonly line: number,
  ) {
    super(message);
  }
}

const ASSIGNMENT = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.[\]-]*)\s*(?:[=:]\s*)?/;
const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', '"': '"', '\\': '\\', $: '$$' };

/** @throws DotEnvFault */
export function parseDotEnv(text: string, env: Readonly<Record<string, string>>): Record<string, string> {
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/);
  const out: Record<string, string> = {};
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] ?? '';
    if (/^\s*(#|$)/.test(line)) continue;
    const assignment = ASSIGNMENT.exec(line);
    const key = assignment?.[1];
    const fail = (why: string): never => {
      throw new DotEnvFault(why, i + 1);
    };
    if (!assignment || key === undefined) return fail('it does not begin with the name of a variable');
    const start = line.slice(assignment[0].length);
    const quote = start[0];
    const scope = { ...out, ...env };
    if (!/[=:]/.test(assignment[0])) {
      // A name alone takes the caller's value.
      if (start.trim() !== '' && !start.startsWith('#')) return fail('there is no "=" after the name');
      if (env[key] !== undefined) out[key] = env[key];
    } else if (quote === '"' || quote === "'") {
      const read = readQuoted(lines, i, start, quote);
      if (!read) return fail(`a ${quote} is not closed`);
      out[key] = quote === "'" ? read.value : expand(read.value, scope, fail);
      i = read.lastLine;
    } else out[key] = expand(start.replace(/(^|\s+)#.*$/, '').trim(), scope, fail);
  }
  return out;
}

function expand(value: string, scope: Record<string, string>, fail: (why: string) => never): string {
  try {
    return interpolate(value, scope);
  } catch (error) {
    if (error instanceof InterpolationFault) return fail(error.message);
    throw error;
  }
}

/** Reads on over line ends until the quote closes; what follows may only be a comment. */
function readQuoted(
  lines: readonly string[],
  first: number,
  start: string,
  quote: string,
): { value: string; lastLine: number } | undefined {
  let value = '';
  for (let i = first; i < lines.length; i++) {
    const text = i === first ? start.slice(1) : (lines[i] ?? '');
    for (let j = 0; j < text.length; j++) {
      const c = text[j] ?? '';
      if (c === quote) return { value, lastLine: i };
      const escape = quote === '"' && c === '\\' ? ESCAPES[text[j + 1] ?? ''] : undefined;
      value += escape ?? c;
      if (escape !== undefined) j++;
    }
    value += '\n';
  }
  return undefined;
}

/** An `env_file` of format "raw": what follows "=" is taken as it is. @throws DotEnvFault */
export function parseRawEnv(text: string, env: Readonly<Record<string, string>>): Record<string, string> {
  const out: Record<string, string> = {};
  for (const [i, line] of text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .entries()) {
    if (/^\s*(#|$)/.test(line)) continue;
    const equals = line.indexOf('=');
    const key = (equals < 0 ? line : line.slice(0, equals)).trim();
    if (key === '' || /\s/.test(key)) throw new DotEnvFault('it does not begin with the name of a variable', i + 1);
    const value = equals < 0 ? env[key] : line.slice(equals + 1);
    if (value !== undefined) out[key] = value;
  }
  return out;
}
