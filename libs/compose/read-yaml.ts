/** YAML text → trees: by the fast reader what it knows for sure, by the full parser what is left, errors among it. */
import { readFast } from './fast-yaml.js';
import { readFull, type Fault } from './full-yaml.js';
import type { Value } from './tree.js';

const MAX_TEXT_LENGTH = 4 * 1024 * 1024;

/**
 * The trees of the text's documents (nearly always one); undefined when it cannot be read at all. Every problem went to `fault`.
 * @param file as it shall appear in places
 */
export function readTrees(text: string, file: string, fault: Fault): Value[] | undefined {
  if (text.length > MAX_TEXT_LENGTH) {
    fault({ file, line: 1, column: 1 }, '', `the file is larger than ${MAX_TEXT_LENGTH} characters`);
    return undefined;
  }
  const fast = readFast(text, file);
  return fast ? [fast] : readFull(text, file, fault);
}
