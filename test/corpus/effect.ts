/** Whether a key that a case says makes a difference: what Weft would do with the case, with the key and without it. */
import { ComposeErrors } from '#compose/issue.js';
import { COMPOSE_FILE } from '#compose/key-table.js';
import { readStack } from '#compose/parse-compose.js';
import { readTrees } from '#compose/read-yaml.js';
import type { Folder } from './folder.js';
import { modelOf, withText, type Texts } from './judge.js';
import type { Case } from './folder.js';
import { saidKeys, type SaidKey } from './said-keys.js';

/** The rows of the key table of which some case would be another stack, build or watch, or none, were the key not in it. */
export function rowsWithEffect({ texts }: Folder, cases: readonly Case[]): Set<string> {
  const found = new Set<string>();
  for (const one of cases) {
    const whole = outcomeOf(one, texts);
    for (const path of one.files) {
      const text = texts.get(path) ?? '';
      const said = (readTrees(text, path, () => undefined) ?? []).flatMap((tree) => saidKeys(tree, COMPOSE_FILE));
      for (const key of said)
        if (!found.has(key.row) && outcomeOf(one, withText(texts, path, asNote(text, key))) !== whole) found.add(key.row);
    }
  }
  return found;
}

/** A key that begins with x- is the user's own, wherever it stands. */
function asNote(text: string, { at }: SaidKey): string {
  const lines = text.split('\n');
  const line = lines[at.line - 1] ?? '';
  const quote = /["']/.test(line.charAt(at.column - 1)) ? 1 : 0;
  lines[at.line - 1] = `${line.slice(0, at.column - 1 + quote)}x-${line.slice(at.column - 1 + quote)}`;
  return lines.join('\n');
}

/** All that is handed on: to the cluster, and to the builder and the watcher on the user's machine. */
function outcomeOf(one: Case, texts: Texts): string {
  const model = modelOf(one, texts);
  if ('issues' in model) return 'refused';
  try {
    const { stack, builds, watches, pulls, sources } = readStack(model);
    return JSON.stringify([stack, [...builds], [...watches], [...pulls], sources], (key, value: unknown) =>
      key === 'at' ? undefined : value,
    );
  } catch (error) {
    if (error instanceof ComposeErrors) return 'refused';
    throw error;
  }
}
