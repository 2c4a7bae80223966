/**
 * Configs and secrets of a stack: read where the compose file says, and sent to the cluster before the stack, which names
 * them by what the cluster answers. What they hold goes nowhere else.
 */
import { readFileSync, statSync } from 'node:fs';
import { MAX_FILE_BYTES } from '#model/content.js';
import { ComposeErrors, type ComposeIssue } from '#compose/issue.js';
import type { FileSource } from '#compose/draft.js';
import type { FileWish, Stack } from '#model/stack.js';
import { messageOf } from '#base/errors.js';
import { callUnary } from '#rpc/client.js';
import type { Connection } from './connection.js';
import { bytes as showBytes } from './render/quantity.js';

/** A config or secret is small, but the way to the controller may be slow. */
const SEND_TIMEOUT_MS = 30_000;

export interface ReadFile {
  source: FileSource;
  content: Buffer;
}

/** @param file the compose file, for the message. @throws ComposeErrors with the place of each that cannot be read */
export function readFiles(sources: readonly FileSource[], file: string): ReadFile[] {
  const issues: ComposeIssue[] = [];
  const read = sources.flatMap((source) => {
    const content = readOne(source);
    if (Buffer.isBuffer(content)) return [{ source, content }];
    issues.push({ ...source.at, path: source.path, ...content });
    return [];
  });
  if (issues.length > 0) throw new ComposeErrors(file, issues);
  return read;
}

type Fault = Pick<ComposeIssue, 'message' | 'hint'>;

function readOne({ kind, from }: FileSource): Buffer | Fault {
  if ('text' in from) {
    const content = Buffer.from(from.text);
    return content.length > MAX_FILE_BYTES ? tooLarge(kind, content.length) : content;
  }
  try {
    const { size } = statSync(from.file);
    return size > MAX_FILE_BYTES ? tooLarge(kind, size) : readFileSync(from.file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return { message: `there is no file ${from.file}` };
    return { message: code === 'EISDIR' ? `${from.file} is a directory, not a file` : messageOf(error) };
  }
}

const tooLarge = (kind: string, size: number): Fault => ({
  message: `a ${kind} has at most ${MAX_FILE_BYTES} bytes, this one has ${showBytes(size)}`,
  hint: 'put it into a volume or an image',
});

/** The stack with what the cluster knows its files by. `dryRun`: nothing is stored. @throws BAD_VALUE, STORE */
export async function sendFiles({ api, target }: Connection, stack: Stack, files: readonly ReadFile[], dryRun: boolean): Promise<Stack> {
  const ids = await Promise.all(
    files.map(async ({ source: { kind, key }, content }) => {
      const { contentId } = await callUnary(api, 'storeFile', { kind, content, dryRun }, { target, timeoutMs: SEND_TIMEOUT_MS });
      return [`${kind}/${key}`, contentId] as const;
    }),
  );
  const known = new Map(ids);
  const named = (kind: FileSource['kind'], wishes: Stack['configs']) =>
    wishes && Object.fromEntries(Object.entries(wishes).map(([key, wish]) => [key, withContent(wish, known.get(`${kind}/${key}`))]));
  const configs = named('config', stack.configs);
  const secrets = named('secret', stack.secrets);
  return { ...stack, ...(configs ? { configs } : {}), ...(secrets ? { secrets } : {}) };
}

const withContent = (wish: FileWish, contentId: string | undefined): FileWish => (contentId === undefined ? wish : { ...wish, contentId });
