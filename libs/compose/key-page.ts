/** The page that tells users which keys there are and what becomes of them: written from the key table, so that it is never another. */
import { COMPOSE_FILE } from './key-table.js';
import { keyRows, type KeyRow, type Standing } from './shape.js';

const HEAD = `# Compose keys

Every key of the Compose Specification, what may stand there, and what Weft does with it. This page is written by
\`npm run build\` from the key table that reads the files (\`key-table.ts\`); a test holds the two together.

- **honoured**: as Compose does it, on whichever node a task runs.
- **honoured, with a difference**: it works, and the row says in what it is another.
- **refused**: an error with file, line and column, for the reason that the row gives. Nothing is ever accepted and ignored.

In a path, \`*\` is a name that you choose, \`[]\` an item of a list. Keys that begin with \`x-\` are yours, anywhere, but for
\`x-weft\`: of a service \`{ on-partition: keep | stop }\` (apps/agent/README.md), of a mount \`{ seed: true, uid: …, gid: … }\`.
A key that asks for nothing (\`privileged: false\`, \`devices: []\`) is taken whatever its row says.
`;

const COLUMNS = '| key | what may stand there | what Weft does |\n|---|---|---|\n';

/** The whole page: a summary, then a table for each top-level key. Markdown, ends with a line end. */
export function keyPage(): string {
  const rows = keyRows(COMPOSE_FILE);
  const sections = Object.keys(COMPOSE_FILE.keys).map((key) =>
    section(
      key,
      rows.filter((row) => sectionOf(row) === key),
    ),
  );
  return [HEAD, summary(rows), ...sections].join('\n');
}

const sectionOf = ({ path }: KeyRow): string => /^[a-z]+/.exec(path)?.[0] ?? '';

function summary(rows: readonly KeyRow[]): string {
  const count = (is: Standing['is']): number => rows.filter((row) => row.standing.is === is).length;
  const refused = count('refused') + count('later');
  return `${rows.length} keys: ${count('honoured')} honoured, ${count('differs')} with a difference, ${refused} refused.\n`;
}

const section = (key: string, rows: readonly KeyRow[]): string => `## ${key}\n\n${COLUMNS}${rows.map(line).join('')}`;

const line = ({ path, shape, standing }: KeyRow): string => `| \`${path}\` | ${cell(shape)} | ${cell(doing(standing))} |\n`;

/** What Weft does with a key, as a sentence for a person. */
export function doing(standing: Standing): string {
  switch (standing.is) {
    case 'honoured':
      return 'honoured';
    case 'differs':
      return `honoured, with a difference: ${standing.how}`;
    case 'refused':
      return `refused: ${standing.why}${standing.hint === undefined ? '' : ` (${standing.hint})`}`;
    case 'later':
      return 'refused: not built yet';
  }
}

/** A bar would begin the next cell, a `*` or `_` could turn the rest italic. */
const cell = (text: string): string => text.replace(/[|*_<\\]/g, '\\$&');
