/** From flags to a stack: which compose file, which environment, which name. */
import { readFile, stat } from 'node:fs/promises';
import { text as readAll } from 'node:stream/consumers';
import { basename, dirname, relative, resolve } from 'node:path';
import { Option, type Command } from 'commander';
import { WeftError } from '#base/errors.js';
import { parseCompose, readProjectName, type ComposeInput, type ComposeResult } from '#compose/parse-compose.js';
import { parseDotEnv } from './dot-env.js';
import type { Shell } from './shell.js';

/** As Compose looks for them. */
const FILE_NAMES = ['compose.yaml', 'compose.yml', 'docker-compose.yaml', 'docker-compose.yml'];

export interface ProjectFlags {
  file?: string[];
  projectName?: string;
}

const gather = (value: string, all: string[] = []): string[] => [...all, value];

/** Adds -f and -p; only --file where -f means something else. */
export function projectOptions(command: Command, fileFlags = '-f, --file <file>'): Command {
  return command
    .addOption(new Option(fileFlags, 'the compose file; "-" reads standard input (default: compose.yaml here)').argParser(gather))
    .option('-p, --project-name <name>', 'the name of the stack (else COMPOSE_PROJECT_NAME, else "name:" in the file, else its directory)');
}

/** The one file that is meant, as it was written; undefined when none is given and none is there. @throws USAGE, NOT_FOUND */
async function findFile(shell: Shell, flags: ProjectFlags): Promise<string | undefined> {
  const fromEnv = shell.env['COMPOSE_FILE'];
  const given = flags.file ?? (fromEnv ? fromEnv.split(shell.env['COMPOSE_PATH_SEPARATOR'] || ':') : []);
  if (given.length > 1) {
    throw new WeftError('USAGE', {
      what: 'several compose files are given',
      why: 'Weft does not merge compose files yet',
      hint: 'Put everything in one file, and give one -f.',
    });
  }
  if (given[0] !== undefined) return given[0];
  for (const name of FILE_NAMES) {
    const found = await stat(resolve(shell.cwd, name)).catch(() => undefined);
    if (found?.isFile()) return name;
  }
  return undefined;
}

/** The file's text, and everything the parser wants to know. @throws NOT_FOUND, BAD_VALUE */
async function readInput(shell: Shell, flags: ProjectFlags, file: string): Promise<ComposeInput> {
  const directory = file === '-' ? shell.cwd : dirname(resolve(shell.cwd, file));
  const env = await environment(shell, directory);
  const projectName = flags.projectName ?? (env['COMPOSE_PROJECT_NAME'] || undefined);
  return {
    text: file === '-' ? await readAll(shell.stdin) : await readText(resolve(shell.cwd, file), file),
    file: file === '-' ? '<stdin>' : file,
    env,
    projectDirectory: directory,
    ...(projectName === undefined ? {} : { projectName }),
  };
}

async function readText(path: string, shown: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT')
      throw new WeftError('NOT_FOUND', { what: `there is no file ${shown}`, hint: 'Give the compose file with -f FILE.' });
    throw new WeftError('BAD_VALUE', {
      what: `cannot read ${shown}`,
      why: code === 'EISDIR' ? 'it is a directory' : message,
      hint: 'Give the compose file with -f FILE.',
    });
  }
}

/** The caller's environment over that of `.env` beside the file. */
async function environment(shell: Shell, directory: string): Promise<Record<string, string>> {
  const own = Object.fromEntries(Object.entries(shell.env).filter((pair): pair is [string, string] => pair[1] !== undefined));
  const path = resolve(directory, '.env');
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'EISDIR') return undefined;
    throw new WeftError('BAD_VALUE', { what: `cannot read ${path}`, why: error.message });
  });
  return text === undefined ? own : { ...parseDotEnv(text, relative(shell.cwd, path) || path, own), ...own };
}

function noFile(shell: Shell): WeftError {
  return new WeftError('NOT_FOUND', {
    what: 'there is no compose file here',
    why: `none of ${FILE_NAMES.join(', ')} is in ${shell.cwd}`,
    hint: 'Give the file with -f FILE, or name a stack with -p NAME.',
  });
}

/** The stack of the file. @throws COMPOSE_INVALID, NOT_FOUND, USAGE */
export async function loadProject(shell: Shell, flags: ProjectFlags): Promise<ComposeResult & { file: string }> {
  const file = await findFile(shell, flags);
  if (file === undefined) throw noFile(shell);
  return { ...parseCompose(await readInput(shell, flags, file)), file };
}

/** The name of the stack that is meant; undefined when neither a name nor a file is there. @throws COMPOSE_INVALID, NOT_FOUND, USAGE */
export async function findProjectName(shell: Shell, flags: ProjectFlags): Promise<string | undefined> {
  const named = flags.projectName ?? (shell.env['COMPOSE_PROJECT_NAME'] || undefined);
  if (named !== undefined) return named;
  const file = await findFile(shell, flags);
  return file === undefined ? undefined : readProjectName(await readInput(shell, flags, file));
}

/** As `findProjectName`. @throws NOT_FOUND when nothing names a stack */
export async function needProjectName(shell: Shell, flags: ProjectFlags): Promise<string> {
  const name = await findProjectName(shell, flags);
  if (name === undefined) throw noFile(shell);
  return name;
}

export const looksLikeFile = (word: string): boolean => /\.ya?ml$/.test(basename(word)) || word.includes('/');
