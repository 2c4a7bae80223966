/** Patterns of .dockerignore (Docker, "Dockerfile reference", .dockerignore): `*`, `?`, `[…]`, `**`, a later `!pattern` takes back. Pure. */

interface Line {
  fits: RegExp;
  negated: boolean;
}

/** Whether a path, relative and with "/", is left out. What fits a directory fits all that is in it. */
export type Ignores = (path: string) => boolean;

export function ignoreBy(lines: readonly string[]): Ignores {
  const patterns = lines.flatMap((line) => parse(line) ?? []);
  return (path) => {
    let ignored = false;
    for (const { fits, negated } of patterns) if (fits.test(path)) ignored = !negated;
    return ignored;
  };
}

function parse(text: string): Line | undefined {
  const line = text.trim();
  if (line === '' || line.startsWith('#')) return undefined;
  const negated = line.startsWith('!');
  const pattern = line
    .slice(negated ? 1 : 0)
    .trim()
    .replace(/^\.?\/+/, '')
    .replace(/\/+$/, '');
  return pattern === '' || pattern === '.' ? undefined : { fits: new RegExp(`^${expression(pattern)}(/.*)?$`, 's'), negated };
}

const TOKEN = /\*\*\/|\*\*|\*|\?|\[(?:\\.|[^\]\\/])+\]|\\.|[^]/gu;

function expression(pattern: string): string {
  return pattern.replace(TOKEN, (token) => {
    if (token === '**/') return '(?:.*/)?';
    if (token === '**') return '.*';
    if (token === '*') return '[^/]*';
    if (token === '?') return '[^/]';
    if (/^\[.+\]$/su.test(token)) return token.replace(/^\[!/, '[^');
    return (token.length === 2 && token.startsWith('\\') ? token.slice(1) : token).replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
  });
}
