/** Every row of the key table has its cases among the files of the corpus: one that says the key and is taken, one that says it wrongly. */
import { fileURLToPath } from 'node:url';
import { COMPOSE_FILE } from '#compose/key-table.js';
import { keyRows } from '#compose/shape.js';
import { coverageOf, isRefused } from './coverage.js';
import { rowsWithEffect } from './effect.js';
import { readFolder } from './folder.js';
import { judgeFolder } from './report.js';
import { BESIDES, SPECIFIED } from './specification.js';

const directory = fileURLToPath(new URL('cases', import.meta.url));
const folder = readFolder(directory);
const results = judgeFolder(directory);
const coverage = coverageOf(folder, results);
const rows = keyRows(COMPOSE_FILE);
const paths = (all: typeof rows): string[] => all.map((row) => row.path);

it('the table has each key of the specification, and few besides', () => {
  const known = new Set(paths(rows));
  expect(SPECIFIED.length).toBeGreaterThan(340);
  expect(SPECIFIED.filter((path) => !known.has(path))).toEqual([]);
  expect([...known].filter((path) => !SPECIFIED.includes(path) && !BESIDES.test(path))).toEqual([]);
});

it('each key that Weft takes is in a case that is taken', () => {
  expect(paths(rows.filter((row) => !isRefused(row) && !coverage.taken.has(row.path)))).toEqual([]);
});

it('each key that Weft takes is in a case that is refused for what the key says', () => {
  expect(paths(rows.filter((row) => !isRefused(row) && !coverage.wrong.has(row.path)))).toEqual([]);
});

it('each key that Weft refuses is in a case that is refused for it, at its place', () => {
  expect(paths(rows.filter((row) => isRefused(row) && !coverage.refused.has(row.path)))).toEqual([]);
});

it('each key that Weft honours makes a difference to what it would do', () => {
  const taken = results.filter(({ verdict }) => verdict.is === 'parsed').map(({ one }) => one);
  const effective = rowsWithEffect(folder, taken);
  expect(paths(rows.filter(({ path, standing }) => standing.is === 'honoured' && !effective.has(path)))).toEqual([]);
});
