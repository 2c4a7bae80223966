/**
 * Contexts: the clusters that this user can speak to. Each is a directory `<config>/contexts/<name>/` with context.json,
 * ca.pem, cert.pem and key.pem; the file `<config>/current` names the one in use.
 */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { WeftError } from '#base/errors.js';
import { decode, encode } from '#model/codec.js';
import { checkName } from '#model/names.js';

const contextSchema = z.object({
  name: z.string(),
  /** host:port of the controllers' API. */
  endpoints: z.array(z.string().regex(/^[^\s:]+:\d{1,5}$|^\[[0-9a-f:]+\]:\d{1,5}$/)).min(1),
  createdAt: z.number().optional(),
});

export type Context = z.infer<typeof contextSchema>;

export interface Pems {
  caPem: string;
  certPem: string;
  keyPem: string;
}

type Env = Readonly<Record<string, string | undefined>>;

/** WEFT_CONFIG_DIR, or ~/.config/weft. */
export const configDir = (env: Env = process.env): string => env['WEFT_CONFIG_DIR'] || join(env['HOME'] || homedir(), '.config', 'weft');

/** @throws BAD_NAME: the name becomes a path */
const contextDir = (name: string, env: Env): string => join(configDir(env), 'contexts', checkName(name, 'context'));
const currentFile = (env: Env): string => join(configDir(env), 'current');

const isMissing = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'ENOENT';

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Written whole or not at all. */
async function writeWhole(path: string, text: string): Promise<void> {
  const draft = `${path}.${process.pid}.new`;
  await writeFile(draft, text, { mode: 0o600 });
  await rename(draft, path);
}

/** Makes or replaces a context. @throws BAD_NAME */
export async function saveContext(name: string, context: { endpoints: string[] }, identity: Pems, env: Env = process.env): Promise<void> {
  const dir = contextDir(name, env);
  await mkdir(dir, { recursive: true, mode: 0o700 });
  // context.json goes last: a context that can be listed is whole.
  await writeWhole(join(dir, 'ca.pem'), identity.caPem);
  await writeWhole(join(dir, 'key.pem'), identity.keyPem);
  await writeWhole(join(dir, 'cert.pem'), identity.certPem);
  await writeWhole(join(dir, 'context.json'), encode({ name, endpoints: context.endpoints, createdAt: Date.now() }));
}

/**
 * Takes up where the cluster says its controllers are, in a context that is there. A list that is the same but for its order
 * changes nothing. @throws BAD_NAME, NOT_FOUND, CORRUPT
 */
export async function learnEndpoints(name: string, told: readonly string[], env: Env = process.env): Promise<void> {
  const context = await readContext(name, env);
  const isKnown = told.length === context.endpoints.length && told.every((t) => context.endpoints.includes(t));
  if (told.length === 0 || isKnown) return;
  const kept = context.endpoints.filter((e) => told.includes(e));
  const endpoints = [...new Set([...kept, ...told])];
  await writeWhole(join(contextDir(name, env), 'context.json'), encode({ ...context, endpoints }));
}

/** Makes `name` the context in use. @throws NOT_FOUND */
export async function useContext(name: string, env: Env = process.env): Promise<void> {
  await readContext(name, env);
  await writeWhole(currentFile(env), `${name}\n`);
}

/** Forgets a context; says whether there was one. */
export async function removeContext(name: string, env: Env = process.env): Promise<boolean> {
  const dir = contextDir(name, env);
  const was = (await readIfThere(join(dir, 'context.json'))) !== undefined;
  await rm(dir, { recursive: true, force: true });
  if ((await currentContext(env)) === name) await rm(currentFile(env), { force: true });
  return was;
}

/** The name in the `current` file. */
export async function currentContext(env: Env = process.env): Promise<string | undefined> {
  return (await readIfThere(currentFile(env)))?.trim() || undefined;
}

/** @throws NOT_FOUND, CORRUPT */
async function readContext(name: string, env: Env): Promise<Context> {
  const path = join(contextDir(name, env), 'context.json');
  const text = await readIfThere(path);
  if (text !== undefined) return decode(contextSchema, text, path);
  const known = await contextNames(env);
  throw new WeftError('NOT_FOUND', {
    what: `there is no context "${name}"`,
    why: known.length > 0 ? `the contexts are ${known.join(', ')}` : 'there are no contexts yet',
    hint: 'Make one with `ctl dev up` or `ctl context create`.',
  });
}

async function contextNames(env: Env): Promise<string[]> {
  try {
    const entries = await readdir(join(configDir(env), 'contexts'), { withFileTypes: true });
    return entries
      .filter((e) => e.isDirectory())
      .map((e) => e.name)
      .sort();
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

export interface ContextRow {
  name: string;
  current: boolean;
  endpoints: string;
}

/** Every context that can be read, and which of them is in use. */
export async function listContexts(env: Env = process.env): Promise<ContextRow[]> {
  const current = env['WEFT_CONTEXT'] || (await currentContext(env));
  const rows: ContextRow[] = [];
  for (const name of await contextNames(env)) {
    const text = await readIfThere(join(configDir(env), 'contexts', name, 'context.json'));
    if (text === undefined) continue;
    rows.push({ name, current: name === current, endpoints: decode(contextSchema, text, `context ${name}`).endpoints.join(',') });
  }
  return rows;
}

/**
 * The context to speak to: `chosen` (--context), else WEFT_CONTEXT, else the one in use.
 * @throws NOT_FOUND, CORRUPT
 */
export async function loadContext(chosen: string | undefined, env: Env = process.env): Promise<Context & { identity: Pems }> {
  const name = chosen || env['WEFT_CONTEXT'] || (await currentContext(env));
  if (!name) {
    throw new WeftError('NOT_FOUND', {
      what: 'no cluster is chosen',
      why: 'neither --context nor WEFT_CONTEXT is given, and no context is in use',
      hint: 'Start a cluster here with `ctl dev up`, or choose one with `ctl context use NAME`.',
    });
  }
  const context = await readContext(name, env);
  const dir = contextDir(name, env);
  const pem = async (file: string): Promise<string> => {
    const text = await readIfThere(join(dir, file));
    if (text !== undefined) return text;
    throw new WeftError('CORRUPT', {
      what: `the context "${name}" lacks ${file}`,
      hint: `Make it anew with \`ctl context create ${name}\`.`,
    });
  };
  return { ...context, identity: { caPem: await pem('ca.pem'), certPem: await pem('cert.pem'), keyPem: await pem('key.pem') } };
}
