/**
 * Credentials of registries, from where `docker login` left them: $DOCKER_CONFIG or ~/.docker/config.json, with its
 * `auths`, `credHelpers` and `credsStore`. A helper is a program `docker-credential-NAME` that takes a registry on standard
 * input; it is run with an argument list, never through a shell.
 */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { WeftError } from '#base/errors.js';
import { decode } from '#model/codec.js';

export interface Credentials {
  username: string;
  password: string;
}

const dockerConfigSchema = z.object({
  auths: z
    .record(z.string(), z.object({ auth: z.string().optional(), username: z.string().optional(), password: z.string().optional() }))
    .optional(),
  credHelpers: z.record(z.string(), z.string()).optional(),
  credsStore: z.string().optional(),
});
type DockerConfig = z.infer<typeof dockerConfigSchema>;

const helperAnswerSchema = z.object({ Username: z.string(), Secret: z.string() });

/** What Docker calls its own registry in that file. */
const DOCKER_HUB_KEY = 'https://index.docker.io/v1/';
const HELPER_TIMEOUT_MS = 20_000;
const HELPER_NAME = /^[A-Za-z0-9._-]+$/;
/** The user name by which a helper says that the secret is a token for an OAuth exchange, not a password. */
const TOKEN_USER = '<token>';

type Env = Readonly<Record<string, string | undefined>>;

/** The docker config, empty when there is none. @throws CORRUPT */
export async function loadDockerConfig(env: Env): Promise<DockerConfig> {
  const path = join(env['DOCKER_CONFIG'] || join(env['HOME'] || homedir(), '.docker'), 'config.json');
  try {
    return decode(dockerConfigSchema, await readFile(path, 'utf8'), path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw error;
  }
}

const keysOf = (registry: string): string[] =>
  registry === 'docker.io'
    ? [DOCKER_HUB_KEY, 'index.docker.io', 'docker.io']
    : [registry, `https://${registry}`, `http://${registry}`, `https://${registry}/`];

/**
 * Credentials for one registry; undefined when the user has none.
 * @throws BAD_VALUE when they are there and cannot be read
 */
export async function credentialsFor(registry: string, config: DockerConfig, env: Env): Promise<Credentials | undefined> {
  const keys = keysOf(registry);
  const helper = keys.map((key) => config.credHelpers?.[key]).find((name) => name) ?? config.credsStore;
  if (helper) {
    const found = await askHelper(helper, keys[0] ?? registry, env);
    if (found) return found;
  }
  const entry = keys.map((key) => config.auths?.[key]).find((auth) => auth);
  if (!entry) return undefined;
  if (entry.username && entry.password) return { username: entry.username, password: entry.password };
  return entry.auth ? decodeAuth(entry.auth, registry) : undefined;
}

/** base64 of `user:password` (RFC 7617 §2). */
function decodeAuth(auth: string, registry: string): Credentials {
  const plain = Buffer.from(auth, 'base64').toString('utf8').replace(/\0+$/, '');
  const colon = plain.indexOf(':');
  if (colon <= 0)
    throw new WeftError('BAD_VALUE', {
      what: `the login for ${registry} in the docker config cannot be read`,
      hint: `Log in again with \`docker login ${registry}\`.`,
    });
  return { username: plain.slice(0, colon), password: plain.slice(colon + 1) };
}

async function askHelper(name: string, registry: string, env: Env): Promise<Credentials | undefined> {
  const program = `docker-credential-${name}`;
  const fail = (why: string): WeftError =>
    new WeftError('BAD_VALUE', {
      what: `${program} gave no login for ${registry}`,
      why,
      hint: 'Repair the helper, or take it out of the docker config.',
    });
  if (!HELPER_NAME.test(name)) throw fail('this is no name of a program');
  const { error, stdout } = await runHelper(program, registry, env);
  if (error) {
    // The helpers' own protocol: this sentence, and a failure, for a registry without a login.
    if (/credentials not found/i.test(stdout)) return undefined;
    throw fail(error);
  }
  const answer = helperAnswerSchema.safeParse(parseJson(stdout));
  if (!answer.success) throw fail('its answer is not of the form it should have');
  if (answer.data.Username === TOKEN_USER) throw fail('it holds an identity token, which Weft does not support yet');
  return { username: answer.data.Username, password: answer.data.Secret };
}

/** undefined, which no schema takes, for what is not JSON. The text itself is a secret and goes into no message. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function runHelper(program: string, registry: string, env: Env): Promise<{ error?: string; stdout: string }> {
  return new Promise((resolve) => {
    const child = execFile(program, ['get'], { env, timeout: HELPER_TIMEOUT_MS, maxBuffer: 1024 * 1024 }, (error, stdout) => {
      const why =
        error &&
        ((error as NodeJS.ErrnoException).code === 'ENOENT'
          ? 'the program is not installed'
          : `it ended with ${error.code ?? error.signal ?? 'an error'}`);
      resolve({ stdout, ...(why ? { error: why } : {}) });
    });
    // A helper that reads nothing closes the pipe early.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(registry);
  });
}
