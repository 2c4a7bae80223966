/** A folder of Compose files, read into memory: the cases in it, and every file that one of them may name. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, extname, join, relative } from 'node:path';

/** Where the folder lies for the files in it, whatever it is called on this machine: canonical paths are the same everywhere. */
export const ROOT = '/corpus';
const MAX_FILE_BYTES = 4 * 1024 * 1024;
const SKIPPED = new Set(['node_modules', '.git']);

export interface Case {
  /** Of its file, from the folder. */
  name: string;
  /** From ROOT: the file, and NAME.override.yaml where there is one. */
  files: string[];
  /** NAME.env, else .env beside it. */
  envFile?: string;
  /** What the canonical output is to be (NAME.expected.yaml). */
  expected?: string;
  /** What is to be told, a line each: `line:column: path: part of the message` (NAME.refused). */
  refused?: string[];
}

export interface Folder {
  cases: Case[];
  /** By path from ROOT. */
  texts: ReadonlyMap<string, string>;
}

/**
 * Every .yaml and .yml file with a top-level key of Compose is a case, but for overrides, expectations, and files that begin
 * with "_" (they are included or extended by others).
 */
export function readFolder(directory: string): Folder {
  const texts = new Map(filesIn(directory).map((path) => [join(ROOT, relative(directory, path)), readFileSync(path, 'utf8')]));
  const paths = [...texts.keys()].filter((path) => isCase(path, texts)).sort();
  return { cases: paths.map((path) => caseOf(path, texts)), texts };
}

function filesIn(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return SKIPPED.has(entry.name) ? [] : filesIn(path);
    return entry.isFile() && statSync(path).size <= MAX_FILE_BYTES ? [path] : [];
  });
}

const isCase = (path: string, texts: ReadonlyMap<string, string>): boolean =>
  /\.ya?ml$/.test(path) &&
  !/\.(override|expected)\.ya?ml$/.test(path) &&
  !basename(path).startsWith('_') &&
  (/^[ {]*["']?(services|include|networks|volumes|configs|secrets)["']?[ \t]*:/m.test(texts.get(path) ?? '') ||
    texts.has(path.replace(/\.ya?ml$/, '.refused')));

function caseOf(path: string, texts: ReadonlyMap<string, string>): Case {
  const stem = path.slice(0, -extname(path).length);
  const found = (...paths: string[]): string | undefined => paths.find((one) => texts.has(one));
  const over = found(`${stem}.override.yaml`, `${stem}.override.yml`);
  return {
    name: relative(ROOT, path),
    files: [path, ...(over === undefined ? [] : [over])],
    envFile: found(`${stem}.env`, join(dirname(path), '.env')),
    expected: texts.get(`${stem}.expected.yaml`),
    refused: texts
      .get(`${stem}.refused`)
      ?.split('\n')
      .filter((line) => line !== ''),
  };
}
