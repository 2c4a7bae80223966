/**
 * Configs, secrets and trees of a stack: read where the compose file says, and sent to the cluster before the stack, which
 * names them by what they are known by. What they hold goes nowhere else.
 */
import { readFileSync, statSync } from 'node:fs';
import { CHUNK_BYTES, MAX_FILE_BYTES, type FileKind } from '#model/content.js';
import { ComposeErrors, type ComposeIssue } from '#compose/issue.js';
import type { FileSource } from '#compose/draft.js';
import type { FileWish, Stack } from '#model/stack.js';
import { messageOf } from '#base/errors.js';
import { callUnary } from '#rpc/client.js';
import type { Connection } from './connection.js';
import { packTree, TreeBudget, TreeFault, type PackedTree } from './read-tree.js';
import { bytes as showBytes } from './render/quantity.js';
import { say, type Shell } from './shell.js';

/** A config or secret is small, but the way to the controller may be slow. */
const SEND_TIMEOUT_MS = 30_000;

export interface ReadFiles {
  /** Configs and secrets. */
  files: { kind: FileKind; key: string; content: Buffer }[];
  /** By the source of their mounts. */
  trees: Map<string, PackedTree>;
}

/** @param file the compose file, for the message. @throws ComposeErrors with the place of each that cannot be read */
export async function readFiles(sources: readonly FileSource[], file: string): Promise<ReadFiles> {
  const issues: ComposeIssue[] = [];
  const read: ReadFiles = { files: [], trees: new Map() };
  const budget = new TreeBudget();
  for (const source of sources) {
    const { kind, key } = source;
    const found = kind === 'tree' ? await readTree(source, budget) : readOne(source);
    if ('message' in found) issues.push({ ...source.at, path: source.path, ...found });
    else if ('archive' in found) read.trees.set(key, found);
    else if (kind !== 'tree') read.files.push({ kind, key, content: found });
  }
  if (issues.length > 0) throw new ComposeErrors(file, issues);
  return read;
}

type Fault = Pick<ComposeIssue, 'message' | 'hint'>;

async function readTree({ from }: FileSource, budget: TreeBudget): Promise<PackedTree | Fault> {
  try {
    return await packTree('file' in from ? from.file : '', budget);
  } catch (error) {
    return { message: messageOf(error), ...(error instanceof TreeFault && error.hint !== undefined ? { hint: error.hint } : {}) };
  }
}

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
export async function sendFiles(shell: Shell, connection: Connection, stack: Stack, read: ReadFiles, dryRun: boolean): Promise<Stack> {
  if (!dryRun) await sendTrees(shell, connection, [...read.trees.values()]);
  const known = await storeFiles(connection, read.files, dryRun);
  const named = (kind: FileKind, wishes: Stack['configs']) =>
    wishes && Object.fromEntries(Object.entries(wishes).map(([key, wish]) => [key, withContent(wish, known.get(`${kind}/${key}`))]));
  const configs = named('config', stack.configs);
  const secrets = named('secret', stack.secrets);
  return { ...withTrees(stack, read.trees), ...(configs ? { configs } : {}), ...(secrets ? { secrets } : {}) };
}

/** `kind/key` → what each is known by. */
async function storeFiles({ api, target }: Connection, files: ReadFiles['files'], dryRun: boolean): Promise<Map<string, string>> {
  const ids = files.map(async ({ kind, key, content }) => {
    const { contentId } = await callUnary(api, 'storeFile', { kind, content, dryRun }, { target, timeoutMs: SEND_TIMEOUT_MS });
    return [`${kind}/${key}`, contentId] as const;
  });
  return new Map(await Promise.all(ids));
}

const withContent = (wish: FileWish, contentId: string | undefined): FileWish => (contentId === undefined ? wish : { ...wish, contentId });

function withTrees(stack: Stack, trees: ReadonlyMap<string, PackedTree>): Stack {
  if (trees.size === 0) return stack;
  const services = Object.entries(stack.services).map(([name, service]) => {
    const mounts = service.container.mounts.map((mount) => {
      const tree = mount.type === 'tree' ? trees.get(mount.source ?? '') : undefined;
      return tree ? { ...mount, contentId: tree.id } : mount;
    });
    return [name, { ...service, container: { ...service.container, mounts } }] as const;
  });
  return { ...stack, services: Object.fromEntries(services) };
}

/** Only what the cluster lacks travels, in order, a chunk at a time. */
async function sendTrees(shell: Shell, { api, target }: Connection, trees: readonly PackedTree[]): Promise<void> {
  if (trees.length === 0) return;
  const options = { target, timeoutMs: SEND_TIMEOUT_MS };
  const { missing } = await callUnary(api, 'findTrees', { ids: trees.map((tree) => tree.id) }, options);
  const lacking = new Map(trees.filter((tree) => missing.includes(tree.id)).map((tree) => [tree.id, tree.archive]));
  const total = [...lacking.values()].reduce((sum, archive) => sum + archive.length, 0);
  if (total > CHUNK_BYTES) say(shell, `sending ${showBytes(total)} from beside the compose file`);
  for (const [id, archive] of lacking)
    for (let index = 0; index * CHUNK_BYTES < archive.length; index++) {
      const data = archive.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES);
      await callUnary(api, 'storeTreeChunk', { id, sizeBytes: archive.length, index, data }, options);
    }
}
