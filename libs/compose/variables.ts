/** The variables that files name, with what stands in for them. */
import { readTrees } from './read-yaml.js';
import type { Value } from './tree.js';
import type { ComposeFile } from './loading.js';

export interface Variable {
  name: string;
  /** `?`: without it there is no model. */
  required: boolean;
  /** What `-` gives. */
  fallback: string;
  /** What `+` gives. */
  alternate: string;
}

/** By name; of several uses the first that says something counts. */
export function variablesOf(files: readonly ComposeFile[]): Variable[] {
  const found = new Map<string, Variable>();
  for (const file of files) for (const tree of readTrees(file.text, file.shown, () => undefined) ?? []) collect(tree, found, new Set());
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Shared values (aliases) are looked at once. */
function collect(value: Value, found: Map<string, Variable>, seen: Set<Value>): void {
  if (seen.has(value)) return;
  seen.add(value);
  if (value.kind === 'map') for (const entry of value.entries) collect(entry.value, found, seen);
  else if (value.kind === 'list') for (const item of value.items) collect(item, found, seen);
  else if (typeof value.value === 'string') inText(value.value, found);
}

const VARIABLE = /\$(?:\$|([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?:(:?[-?+])([^{}$]*(?:\$\{[^{}]*\}[^{}$]*)*))?\})/g;

function inText(text: string, found: Map<string, Variable>): void {
  for (const [, plain, braced, operator = '', word = ''] of text.matchAll(VARIABLE)) {
    const name = plain ?? braced;
    if (name === undefined) continue;
    const known = found.get(name) ?? { name, required: false, fallback: '', alternate: '' };
    found.set(name, known);
    if (operator.endsWith('?')) known.required = true;
    if (operator.endsWith('-')) known.fallback ||= word;
    if (operator.endsWith('+')) known.alternate ||= word;
    if (word.includes('$')) inText(word, found);
  }
}
