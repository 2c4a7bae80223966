/** Configs and secrets: stored for stacks, named for stacks that call them external, and handed to the nodes that need them. */
import type { Clock } from '#base/clock.js';
import { WeftError } from '#base/errors.js';
import { check, encode } from '#model/codec.js';
import { contentIdSchema, contentKindSchema, fileKindSchema, namedContentSchema, type FileKind } from '#model/content.js';
import { keys } from '#model/keys.js';
import { checkName, GLOBAL_NAME_PATTERN } from '#model/names.js';
import { contentsOf } from '#planner/contents.js';
import { fileRows, usersOfFile } from '#planner/file-rows.js';
import type { FetchContentRequest, FetchContentResponse } from '#rpc/gen/weft/v1/agent_hub.js';
import type {
  CreateFileRequest,
  CreateFileResponse,
  FindTreesRequest,
  FindTreesResponse,
  ListFilesRequest,
  ListFilesResponse,
  RemoveFileRequest,
  RemoveFileResponse,
  StoreFileRequest,
  StoreFileResponse,
  StoreTreeChunkRequest,
  StoreTreeChunkResponse,
} from '#rpc/gen/weft/v1/api.js';
import type { Compare, Store, Write } from '#store/store.js';
import type { ClusterFollower } from '../cluster/follower.js';
import type { ContentStore } from '../contents/content-store.js';

/** A node may know of its task before this replica does, in milliseconds. */
const CATCH_UP_MS = 2_000;

/** @throws BAD_VALUE */
const kindOf = (text: string): FileKind => check(fileKindSchema, text, 'kind', 'BAD_VALUE');

export class FileCalls {
  readonly #follower: ClusterFollower;
  readonly #store: Store;
  readonly #contents: ContentStore;
  readonly #clock: Clock;

  constructor(follower: ClusterFollower, store: Store, contents: ContentStore, clock: Clock) {
    this.#follower = follower;
    this.#store = store;
    this.#contents = contents;
    this.#clock = clock;
  }

  store = async ({ kind: text, content, dryRun }: StoreFileRequest): Promise<StoreFileResponse> => {
    const kind = kindOf(text);
    return { contentId: dryRun ? this.#contents.idOf(kind, content) : await this.#contents.putFile(kind, content) };
  };

  findTrees = async ({ ids }: FindTreesRequest): Promise<FindTreesResponse> => ({
    missing: await this.#contents.missingTrees(ids.map((id) => check(contentIdSchema, id, 'id', 'BAD_VALUE'))),
  });

  storeTreeChunk = async (request: StoreTreeChunkRequest): Promise<StoreTreeChunkResponse> => {
    check(contentIdSchema, request.id, 'id', 'BAD_VALUE');
    await this.#contents.putTreeChunk(request);
    return {};
  };

  list = async ({ kind }: ListFilesRequest): Promise<ListFilesResponse> => ({ files: fileRows(this.#follower.model, kindOf(kind)) });

  create = async (request: CreateFileRequest): Promise<CreateFileResponse> => {
    const kind = kindOf(request.kind);
    const name = checkName(request.name, `the ${kind}`, GLOBAL_NAME_PATTERN);
    const { model } = this.#follower;
    const key = keys.namedContent(kind, name);
    const before = model.namedContents.get(`${kind}/${name}`);
    if (before && !request.replace)
      throw new WeftError('CONFLICT', { what: `there is a ${kind} ${name} already`, hint: 'Give --replace to change what it holds.' });
    const contentId = await this.#contents.putFile(kind, request.content);
    const now = this.#clock.now();
    const record = check(
      namedContentSchema,
      {
        kind,
        name,
        contentId,
        sizeBytes: request.content.length,
        labels: request.labels,
        createdAt: before?.createdAt ?? now,
        updatedAt: now,
      },
      kind,
      'BAD_VALUE',
    );
    const compares = [
      { key, modRevision: before ? model.revisionOf(key) : 0 },
      { key: keys.content(kind, contentId), exists: true },
    ];
    await this.#change(`${kind} ${name}`, compares, [{ put: key, value: encode(record) }]);
    return { users: usersOfFile(model, kind, name) };
  };

  /** Tasks that have it keep it; a stack that names it does not come up any more. @throws CONFLICT while a stack does */
  remove = async (request: RemoveFileRequest): Promise<RemoveFileResponse> => {
    const kind = kindOf(request.kind);
    const { model } = this.#follower;
    this.#follower.requireCurrent();
    const key = keys.namedContent(kind, request.name);
    if (model.revisionOf(key) === 0)
      throw new WeftError('NOT_FOUND', {
        what: `there is no ${kind} ${JSON.stringify(request.name.slice(0, 128))}`,
        hint: `List them with \`ctl ${kind === 'config' ? 'configs' : kind} ls\`.`,
      });
    const users = usersOfFile(model, kind, request.name);
    if (users.length > 0)
      throw new WeftError('CONFLICT', {
        what: `${kind} ${request.name} is in use`,
        why: `by the stacks ${users.join(', ')}`,
        hint: 'Take them down first.',
      });
    await this.#change(`${kind} ${request.name}`, [{ key, modRevision: model.revisionOf(key) }], [{ delete: key }]);
    return {};
  };

  /** To a node, what a task of it needs. @throws FORBIDDEN for anything else */
  async *fetch(request: FetchContentRequest, nodeId: string): AsyncGenerator<FetchContentResponse> {
    const kind = check(contentKindSchema, request.kind, 'kind', 'BAD_VALUE');
    const id = check(contentIdSchema, request.id, 'id', 'BAD_VALUE');
    const isNeeded = () =>
      this.#follower.model.tasksOfNode(nodeId).some((t) => contentsOf(t.container).some((c) => c.kind === kind && c.id === id));
    await this.#follower.until(isNeeded, CATCH_UP_MS, 'the task').catch(() => undefined);
    if (!isNeeded()) throw new WeftError('FORBIDDEN', { what: `this node may not have the ${kind}`, why: 'none of its tasks needs it' });
    for await (const data of this.#contents.read(kind, id)) yield { data };
  }

  async #change(what: string, compares: Compare[], writes: Write[]): Promise<void> {
    const { ok, revision } = await this.#store.txn(compares, writes);
    await this.#follower.reached(revision);
    if (!ok) throw new WeftError('CONFLICT', `${what} was changed at the same time`);
  }
}
