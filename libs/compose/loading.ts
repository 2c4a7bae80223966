/** What the steps of loading share: the input, the files that were opened, and how a file is read. */
import { report, type Context } from './context.js';
import { DotEnvFault } from './dot-env.js';
import type { Position } from './issue.js';
import type { Expander } from './shape.js';
import { readTrees } from './read-yaml.js';
import type { Value } from './tree.js';

/** The text of a file; a string that says why not, where it cannot be read; undefined where there is none. */
export type ReadFile = (path: string) => { text: string } | { fault: string } | undefined;

export interface ComposeFile {
  /** Absolute, or what a file without a path is called. */
  path: string;
  /** As it shall appear in messages. */
  shown: string;
  text: string;
}

export interface ModelInput {
  /** In the order in which they are merged. */
  files: readonly ComposeFile[];
  /** Absolute; relative paths of the files are taken from here. */
  projectDirectory: string;
  /** Overrides `name:`. */
  projectName?: string | undefined;
  /** For `$VAR` and for variables without a value. */
  env?: Readonly<Record<string, string>> | undefined;
  /** Services with profiles are left out unless one of theirs is here, or '*'. */
  profiles?: readonly string[] | undefined;
  /** Only these services and what they depend on. */
  services?: readonly string[] | undefined;
  /** Leaves networks, volumes, configs and secrets out that no service uses, as `docker compose config` does. */
  prune?: boolean | undefined;
  read?: ReadFile | undefined;
  /** How a path is shown in messages. */
  shown?: ((path: string) => string) | undefined;
  /** false: as `docker compose config --no-interpolate`, `--no-path-resolution`, `--no-normalize`, `--no-env-resolution`. */
  interpolate?: boolean | undefined;
  resolvePaths?: boolean | undefined;
  normalise?: boolean | undefined;
  resolveEnvFiles?: boolean | undefined;
}

/** What is the same for all files of a project. */
export interface Loading {
  readonly c: Context;
  readonly input: ModelInput;
  /** Parsed once, by path. */
  readonly trees: Map<string, readonly Value[] | undefined>;
  /** A file has `!reset` or `!override`. */
  tagged: boolean;
}

/** Canonical by the file's own directory and environment. */
export interface FileScope {
  directory: string;
  env: Readonly<Record<string, string>>;
  /** Files that include one another down to this one. */
  chain: readonly string[];
}

export const expanderOf = (l: Loading, scope: FileScope): Expander => ({
  c: l.c,
  env: scope.env,
  directory: scope.directory,
  interpolate: l.input.interpolate ?? true,
  resolvePaths: l.input.resolvePaths ?? true,
  notes: new Map(),
});

/** The documents of a file, parsed once. */
export function treesOf(l: Loading, file: ComposeFile): readonly Value[] | undefined {
  const known = l.trees.get(file.path);
  if (known || l.trees.has(file.path)) return known;
  const trees = readTrees(file.text, file.shown, (at, path, message, hint) => report(l.c, at, path, message, hint));
  l.trees.set(file.path, trees);
  l.tagged ||= /!reset|!override/.test(file.text);
  return trees;
}

/** A further file that `at` names; undefined (and told) when there is none. */
export function openFile(l: Loading, path: string, at: Position, keyPath: string, what: string): ComposeFile | undefined {
  const found = l.input.read?.(path);
  const shown = l.input.shown?.(path) ?? path;
  if (found && 'text' in found) return { path, shown, text: found.text };
  report(l.c, at, keyPath, found ? `${what} ${shown} cannot be read: ${found.fault}` : `there is no ${what} ${shown}`);
  return undefined;
}

/** The variables of an env file; what is wrong in it is told with its own line. */
export function envOf(
  l: Loading,
  path: string,
  parse: () => Record<string, string>,
  at: Position,
  keyPath: string,
): Record<string, string> {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof DotEnvFault)) throw error;
    const place = { file: l.input.shown?.(path) ?? path, line: error.line, column: 1 };
    report(l.c, place, keyPath, error.message, `this file is named at ${at.file}:${at.line}`);
    return {};
  }
}
