/** Which rows of the key table the cases of the corpus show: taken, wrong in value, or refused by Weft, each at its place. */
import { COMPOSE_FILE } from '#compose/key-table.js';
import { readTrees } from '#compose/read-yaml.js';
import { keyRows, type KeyRow, type Shape } from '#compose/shape.js';
import { modelOf } from './judge.js';
import type { Folder } from './folder.js';
import type { Result } from './report.js';
import { saidKeys } from './said-keys.js';

/** Names of cases, by the path of a row (`services.*.ports[].target`). */
export interface Coverage {
  /** The key is in a case that is parsed: as it is written, or in the model of it. */
  taken: ReadonlyMap<string, string>;
  /** The key is in a case, and an error stands at it, or at a value in it that is no row of its own. */
  wrong: ReadonlyMap<string, string>;
  /** The key is in a case, and the refusal of Weft stands at it or at a key around it. */
  refused: ReadonlyMap<string, string>;
}

/** What the judged cases of a folder show. */
export function coverageOf(folder: Folder, results: readonly Result[]): Coverage {
  const rows = new Map(keyRows(COMPOSE_FILE).map((row) => [row.path, row]));
  const taken = new Map<string, string>();
  const wrong = new Map<string, string>();
  const refused = new Map<string, string>();
  for (const { one, verdict } of results) {
    const keys = keysOf(folder, one.name, one.files);
    if (verdict.is === 'parsed') {
      const model = modelOf(one, folder.texts);
      for (const key of [...keys, ...('tree' in model ? saidKeys(model.tree, COMPOSE_FILE).map(({ row }) => row) : [])])
        taken.set(key, one.name);
    }
    if (verdict.is !== 'refused') continue;
    for (const issue of verdict.issues) {
      const row = rowAt(issue.path, rows);
      if (row === undefined) continue;
      if (!isRefused(row)) wrong.set(row.path, one.name);
      else for (const key of keys) if (isWithin(key, row.path)) refused.set(key, one.name);
    }
  }
  return { taken, wrong, refused };
}

export const isRefused = ({ standing }: KeyRow): boolean => standing.is === 'refused' || standing.is === 'later';

const isWithin = (path: string, around: string): boolean =>
  path === around || /^[.[]/.test(path.startsWith(around) ? path.slice(around.length) : '');

/** The rows whose keys the files of a case say, in the form in which they are written. */
function keysOf({ texts }: Folder, name: string, files: readonly string[]): Set<string> {
  const trees = files.flatMap((path) => readTrees(texts.get(path) ?? '', name, () => undefined) ?? []);
  return new Set(trees.flatMap((tree) => saidKeys(tree, COMPOSE_FILE).map(({ row }) => row)));
}

/** The row that an error's path (`services.web.ports[0].target`) leads to, or the nearest around it. */
function rowAt(path: string, rows: ReadonlyMap<string, KeyRow>): KeyRow | undefined {
  let shape: Shape | undefined = COMPOSE_FILE;
  let at = '';
  let row: KeyRow | undefined;
  for (const [part] of path.matchAll(/"(?:[^"\\]|\\.)*"|\[\d+\]|[^.[\]"]+/g)) {
    if (shape?.kind === 'list') [shape, at] = [shape.of, `${at}[]`];
    else if (shape?.kind === 'map') [shape, at] = [shape.of, `${at}.*`];
    else if (shape?.kind === 'object' && Object.hasOwn(shape.keys, part))
      [shape, at] = [shape.keys[part]?.[0], at === '' ? part : `${at}.${part}`];
    else break;
    row = rows.get(at) ?? row;
  }
  return row;
}
