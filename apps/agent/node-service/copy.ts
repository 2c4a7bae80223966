/** The copy calls of the node service: files out of and into the containers of tasks, as tar streams. */
import { WeftError } from '#base/errors.js';
import { absolutePathSchema } from '#model/container-keys.js';
import type {
  CopyInRequest,
  CopyInResponse,
  CopyInStart,
  CopyOutRequest,
  CopyOutResponse,
  StatPathRequest,
  StatPathResponse,
} from '#rpc/gen/weft/v1/api.js';
import { factsBelow } from '#runtime/file-facts.js';
import { packTree } from '#runtime/pack-tree.js';
import type { Runtime } from '#runtime/runtime.js';
import { removeBelow, unpackTree } from '#runtime/unpack-tree.js';
import { runningTask, type TaskCallDeps } from './running-task.js';

/** Bytes of one message: the protocol's limit. */
const CHUNK_BYTES = 256 * 1024;

export interface CopyCallDeps extends TaskCallDeps {
  runtime: Pick<Runtime, 'openRoot'>;
}

/** @throws NOT_FOUND if the container does not run; BAD_VALUE */
export async function statPath(deps: CopyCallDeps, { target, path, follow }: StatPathRequest): Promise<StatPathResponse> {
  checkPath(path);
  const root = await deps.runtime.openRoot(runningTask(deps, target?.task ?? ''));
  try {
    const facts = await factsBelow(root.path, path, follow);
    if (!facts) return { exists: false, path, kind: '', size: 0, mode: 0, modifiedAt: 0, linkTarget: '' };
    const { target: linkTarget = '', ...rest } = facts;
    return { exists: true, linkTarget, ...rest };
  } finally {
    await root.close();
  }
}

/** @throws NOT_FOUND if the container does not run, or has no such path; BAD_VALUE */
export async function* copyOut(deps: CopyCallDeps, request: CopyOutRequest): AsyncGenerator<CopyOutResponse> {
  const { target, path, follow, as } = request;
  checkPath(path);
  const root = await deps.runtime.openRoot(runningTask(deps, target?.task ?? ''));
  const skipped: string[] = [];
  const told = () => skipped.splice(0).map((name): CopyOutResponse => ({ part: { $case: 'skipped', value: name } }));
  try {
    for await (const bytes of packTree({ root: root.path, path, follow, as, onSkipped: (name) => skipped.push(name) })) {
      yield* told();
      for (let at = 0; at < bytes.length; at += CHUNK_BYTES)
        yield { part: { $case: 'chunk', value: bytes.subarray(at, at + CHUNK_BYTES) } };
    }
    yield* told();
  } finally {
    await root.close();
  }
}

/** The first message says where to. @throws NOT_FOUND, BAD_VALUE, CONFLICT */
export async function* copyIn(deps: CopyCallDeps, requests: AsyncIterable<CopyInRequest>): AsyncGenerator<CopyInResponse> {
  const input = requests[Symbol.asyncIterator]();
  const start = startOf((await input.next()).value as CopyInRequest | undefined);
  const { target, directory, makeParents, keepOwners, uid, gid, remove } = start;
  for (const path of [directory, ...remove]) checkPath(path);
  const root = await deps.runtime.openRoot(runningTask(deps, target?.task ?? ''));
  try {
    for (const path of remove) await removeBelow(root.path, path);
    const owner = keepOwners ? 'archive' : { uid, gid };
    const done = await unpackTree(chunksOf(input), { root: root.path, into: directory, owner, makeParents });
    deps.log.info({ task: target?.task, directory, entries: done.entries, bytes: done.bytes }, 'files were copied into a container');
    yield done;
  } finally {
    await root.close();
  }
}

function startOf(request: CopyInRequest | undefined): CopyInStart {
  if (request?.part?.$case !== 'start') throw new WeftError('BAD_VALUE', 'a copy begins with where it goes');
  return request.part.value;
}

async function* chunksOf(input: AsyncIterator<CopyInRequest>): AsyncGenerator<Uint8Array> {
  for (let next = await input.next(); !next.done; next = await input.next())
    if (next.value.part?.$case === 'chunk') yield next.value.part.value;
}

function checkPath(path: string): void {
  if (!absolutePathSchema.safeParse(path).success)
    throw new WeftError('BAD_VALUE', {
      what: `${JSON.stringify(path.slice(0, 128))} is not an absolute path`,
      hint: 'Write it as /dir/file.',
    });
}
