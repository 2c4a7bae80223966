/** From flags to a model or a stack: which compose files, which environment, which name, which profiles. */
import { readFileSync, statSync } from 'node:fs';
import { text as readAll } from 'node:stream/consumers';
import { basename, dirname, relative, resolve } from 'node:path';
import { WeftError } from '#base/errors.js';
import { DotEnvFault, parseDotEnv } from '#compose/dot-env.js';
import { formatPlace } from '#compose/issue.js';
import { loadModel, readProjectName, type Model } from '#compose/load-model.js';
import type { ComposeFile, ModelInput, ReadFile } from '#compose/loading.js';
import type { ComposeResult } from '#compose/parse-compose.js';
import { nearestEntry } from '#compose/tree.js';
import type { ProjectFlags } from './project-options.js';
import type { Shell } from './shell.js';

/** As Compose looks for them. */
const FILE_NAMES = ['compose.yaml', 'compose.yml', 'docker-compose.yml', 'docker-compose.yaml'];
/** Taken too, over the file of such a name. */
const OVERRIDE_NAMES = ['compose.override.yml', 'compose.override.yaml', 'docker-compose.override.yml', 'docker-compose.override.yaml'];

interface Place {
  /** As they were written, or found. */
  files: string[];
  /** Absolute. */
  directory: string;
  env: Record<string, string>;
}

/** What the flags, the environment and the directory name. @throws BAD_VALUE, NOT_FOUND */
function findPlace(shell: Shell, flags: ProjectFlags): Place {
  const given = flags.file ?? [];
  const asked = flags.projectDirectory === undefined ? undefined : resolve(shell.cwd, flags.projectDirectory);
  const directoryOf = (files: readonly string[]): string =>
    asked ?? (files[0] === undefined || files[0] === '-' ? shell.cwd : dirname(resolve(shell.cwd, files[0])));
  const found = given.length > 0 ? given : undefined;
  const env = environment(shell, flags, directoryOf(found ?? []));
  const listed = env['COMPOSE_FILE'] ? env['COMPOSE_FILE'].split(env['COMPOSE_PATH_SEPARATOR'] || ':') : [];
  const files = found ?? (listed.length > 0 ? listed : defaultFiles(shell, asked ?? shell.cwd));
  const directory = directoryOf(files);
  return { files, directory, env: found || asked || directory === shell.cwd ? env : { ...environment(shell, flags, directory), ...env } };
}

/** The file of a usual name here or in the nearest directory above, and its override. */
function defaultFiles(shell: Shell, from: string): string[] {
  for (let directory = from; ; directory = dirname(directory)) {
    const shown = (name: string): string => relative(shell.cwd, resolve(directory, name)) || name;
    const isFile = (name: string): boolean => statSync(resolve(directory, name), { throwIfNoEntry: false })?.isFile() ?? false;
    const name = FILE_NAMES.find(isFile);
    const over = OVERRIDE_NAMES.find(isFile);
    if (name !== undefined) return [name, ...(over === undefined ? [] : [over])].map(shown);
    if (dirname(directory) === directory) return [];
  }
}

/** The caller's environment over that of the env files. */
function environment(shell: Shell, flags: ProjectFlags, directory: string): Record<string, string> {
  const own = Object.fromEntries(Object.entries(shell.env).filter((pair): pair is [string, string] => pair[1] !== undefined));
  const listed = own['COMPOSE_ENV_FILES'] ? own['COMPOSE_ENV_FILES'].split(',') : [];
  const named = (flags.envFile ?? listed).map((file) => resolve(shell.cwd, file));
  const found: Record<string, string> = {};
  for (const path of named.length > 0 ? named : [resolve(directory, '.env')])
    Object.assign(found, readEnvFile(shell, path, { ...found, ...own }, named.length > 0));
  return { ...found, ...own };
}

function readEnvFile(shell: Shell, path: string, env: Record<string, string>, needed: boolean): Record<string, string> {
  const file = readFrom(path);
  const shown = relative(shell.cwd, path) || path;
  if (file === undefined && needed)
    throw new WeftError('NOT_FOUND', { what: `there is no env file ${shown}`, hint: 'Look at --env-file.' });
  if (file === undefined || ('fault' in file && !needed && file.fault === IS_DIRECTORY)) return {};
  if ('fault' in file) throw new WeftError('BAD_VALUE', { what: `cannot read ${shown}`, why: file.fault });
  try {
    return parseDotEnv(file.text, env);
  } catch (error) {
    if (!(error instanceof DotEnvFault)) throw error;
    throw new WeftError('BAD_VALUE', {
      what: `${shown}:${error.line} cannot be read`,
      why: error.message,
      hint: 'Write lines of the form KEY=value.',
    });
  }
}

const IS_DIRECTORY = 'it is a directory';

const readFrom: ReadFile = (path) => {
  try {
    return { text: readFileSync(path, 'utf8') };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    return { fault: code === 'EISDIR' ? IS_DIRECTORY : message };
  }
};

/** Everything the loader of models wants to know. @throws NOT_FOUND, BAD_VALUE */
async function readInput(shell: Shell, flags: ProjectFlags, { files, directory, env }: Place): Promise<ModelInput> {
  const opened: ComposeFile[] = [];
  for (const file of files) {
    if (file === '-') opened.push({ path: resolve(shell.cwd, '-'), shown: '<stdin>', text: await readAll(shell.stdin) });
    else opened.push({ path: resolve(shell.cwd, file), shown: file, text: readText(resolve(shell.cwd, file), file) });
  }
  return {
    files: opened,
    projectDirectory: directory,
    projectName: flags.projectName ?? (env['COMPOSE_PROJECT_NAME'] || undefined),
    env,
    profiles: flags.profile ?? (env['COMPOSE_PROFILES'] ? env['COMPOSE_PROFILES'].split(',').map((one) => one.trim()) : []),
    read: readFrom,
    shown: (path) => shorter(relative(shell.cwd, path), path),
  };
}

const shorter = (short: string, long: string): string => (short !== '' && !short.startsWith('../..') ? short : long);

function readText(path: string, shown: string): string {
  const file = readFrom(path);
  if (file && 'text' in file) return file.text;
  const hint = 'Give the compose file with -f FILE.';
  if (!file) throw new WeftError('NOT_FOUND', { what: `there is no file ${shown}`, hint });
  throw new WeftError('BAD_VALUE', { what: `cannot read ${shown}`, why: file.fault, hint });
}

function noFile(shell: Shell): WeftError {
  return new WeftError('NOT_FOUND', {
    what: 'there is no compose file here',
    why: `none of ${FILE_NAMES.join(', ')} is in ${shell.cwd}, nor in a directory above`,
    hint: 'Give the file with -f FILE, or name a stack with -p NAME.',
  });
}

/** The canonical model of the files. @throws COMPOSE_INVALID, NOT_FOUND, BAD_VALUE */
export async function loadProjectModel(
  shell: Shell,
  flags: ProjectFlags,
  more: Partial<ModelInput> = {},
): Promise<{ model: Model; input: ModelInput }> {
  const place = findPlace(shell, flags);
  if (place.files.length === 0) throw noFile(shell);
  const input = { ...(await readInput(shell, flags, place)), ...more };
  return { model: loadModel(input), input };
}

export interface Project extends ComposeResult {
  file: string;
  /** Services that no active profile has. */
  dormant: readonly string[];
  /** `file:line:column` of a path in the model, or of as much of it as the files have. */
  placeOf: (path: readonly string[]) => string;
}

/** The stack of the files. @throws COMPOSE_INVALID, NOT_FOUND, BAD_VALUE */
export async function loadProject(shell: Shell, flags: ProjectFlags): Promise<Project> {
  const { model } = await loadProjectModel(shell, flags);
  const { readStack } = await import('#compose/parse-compose.js');
  return { ...readStack(model), file: model.context.file, dormant: model.dormant, placeOf: (path) => placeIn(model, path) };
}

/** Of a single value it is where that stands; of a map or a list, where its key does. */
function placeIn({ tree }: Model, path: readonly string[]): string {
  const { at, value } = nearestEntry(tree, path);
  return formatPlace(value.kind === 'scalar' ? value.at : at);
}

/** Does something with a project; what is refused because of the files says where in them. */
export async function inFiles<T>({ placeOf }: Pick<Project, 'placeOf'>, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof WeftError) || error.path.length === 0) throw error;
    const { code, what, why, hint } = error;
    throw new WeftError(code, { what: `${placeOf(error.path)}: ${what}`, why, hint, cause: error });
  }
}

/** The name of the stack that is meant; undefined when neither a name nor a file is there. @throws COMPOSE_INVALID, NOT_FOUND, BAD_VALUE */
export async function findProjectName(shell: Shell, flags: ProjectFlags): Promise<string | undefined> {
  if (flags.projectName !== undefined) return flags.projectName;
  const place = findPlace(shell, flags);
  const named = place.env['COMPOSE_PROJECT_NAME'] || undefined;
  if (named !== undefined) return named;
  return place.files.length === 0 ? undefined : readProjectName(await readInput(shell, flags, place));
}

/** As `findProjectName`. @throws NOT_FOUND when nothing names a stack */
export async function needProjectName(shell: Shell, flags: ProjectFlags): Promise<string> {
  const name = await findProjectName(shell, flags);
  if (name === undefined) throw noFile(shell);
  return name;
}

export const looksLikeFile = (word: string): boolean => /\.ya?ml$/.test(basename(word)) || word.includes('/');
