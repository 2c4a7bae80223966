/** Every key path of the table: a value that may stand there is taken, one that may not is refused at its place. */
import { newContext } from './context.js';
import { expand } from './expand.js';
import { formatIssue, type ComposeIssue } from './issue.js';
import { COMPOSE_FILE } from './key-table.js';
import { readTrees } from './read-yaml.js';
import { keyRows, type Key, type Shape } from './shape.js';

/** Texts for shapes that take not just any. */
const TEXTS: Readonly<Record<string, string>> = {
  'a port or a range of ports': '"8000-8010"',
  'some of r, w and m': 'rw',
  'one of always, never, missing, if_not_present, build, refresh, daily, weekly, every_…': 'every_12h',
  'one of no, always, on-failure[:TIMES], unless-stopped': '"on-failure:3"',
};

function valid(shape: Shape): string {
  switch (shape.kind) {
    case 'text':
      return shape.choices ? JSON.stringify(shape.choices[0]) : (TEXTS[shape.what] ?? 'some');
    case 'number':
      return String(Math.max(shape.min, 1));
    case 'boolean':
      return 'true';
    case 'bytes':
      return '64m';
    case 'duration':
      return '1m30s';
    case 'mode':
      return '0440';
    case 'any':
      return '{ a: [b] }';
    case 'list':
      return `[${valid(shape.of)}]`;
    case 'map':
      return shape.print ? '{ name: ["1.2.3.4"] }' : `{ name: ${valid(shape.of)} }`;
    case 'object':
      return `{ ${(shape.required ?? []).map((key) => `${key}: ${valid((shape.keys[key] as Key)[0])}`).join(', ')} }`;
  }
}

function invalid(shape: Shape): string | undefined {
  switch (shape.kind) {
    case 'any':
      return undefined;
    case 'list':
      return '{ a: { b: [c] } }';
    case 'map':
    case 'text':
    case 'object':
      return '[[[a]]]';
    default:
      return 'wrong';
  }
}

function shapeOf(path: string): Shape {
  let shape: Shape = COMPOSE_FILE;
  for (const part of path.split(/\.|(?=\[\])/)) {
    if (part === '*' || part === '[]') shape = (shape as { of: Shape }).of;
    else shape = ((shape as { keys: Record<string, Key> }).keys[part] as Key)[0];
  }
  return shape;
}

/** A file with nothing but this key. */
function fileOf(path: string, value: string): { text: string; column: number; path: string } {
  let before = '';
  let after = '';
  let shown = '';
  for (const part of path.split(/\.|(?=\[\])/)) {
    if (part === '[]') [before, after, shown] = [`${before}[`, `]${after}`, `${shown}[0]`];
    else {
      const key = part === '*' ? 'one' : part;
      [before, after, shown] = [`${before}{ ${key}: `, ` }${after}`, shown === '' ? key : `${shown}.${key}`];
    }
  }
  return { text: before + value + after, column: before.length + 1, path: shown };
}

function issuesOf(text: string): readonly ComposeIssue[] {
  const c = newContext('f', { HOME: '/root' }, '/p');
  const trees = readTrees(text, 'f', (at, path, message) => c.issues.push({ ...at, path, message })) ?? [];
  const e = { c, env: c.env, directory: '/p', interpolate: true, resolvePaths: true, notes: new Map() };
  for (const tree of trees) expand(e, { value: tree, path: '', at: tree.at }, COMPOSE_FILE);
  return c.issues;
}

const paths = keyRows(COMPOSE_FILE).map((row) => row.path);

it.each(paths)('%s', (path) => {
  const shape = shapeOf(path);
  const good = fileOf(path, valid(shape));
  expect({ text: good.text, issues: issuesOf(good.text).map(formatIssue) }).toEqual({ text: good.text, issues: [] });
  const wrong = invalid(shape);
  if (wrong === undefined) return;
  const bad = fileOf(path, wrong);
  const [first] = issuesOf(bad.text);
  expect({ text: bad.text, issue: first }).toMatchObject({ text: bad.text, issue: { file: 'f', line: 1 } });
  expect(first?.path.startsWith(bad.path)).toBe(true);
  expect(first?.column).toBeGreaterThanOrEqual(bad.column);
  expect(first?.column).toBeLessThan(bad.column + wrong.length);
});

it('a key that is in no table is refused at every place', () => {
  const places = new Set(paths.filter((path) => path.includes('.')).map((path) => path.slice(0, path.lastIndexOf('.'))));
  expect(places.size).toBeGreaterThan(25);
  for (const place of places) {
    const { text, path } = fileOf(place, '{ definitely_no_key: 1 }');
    expect(issuesOf(text).map(formatIssue)).toEqual([
      expect.stringContaining(`${path}.definitely_no_key: "definitely_no_key" is not a key of`),
    ]);
  }
});
