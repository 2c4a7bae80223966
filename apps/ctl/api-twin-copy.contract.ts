/** The copying part of the API's twin: every container has one root, a directory here. */
import { factsBelow } from '#runtime/file-facts.js';
import { packTree } from '#runtime/pack-tree.js';
import { removeBelow, unpackTree } from '#runtime/unpack-tree.js';
import type * as api from '#rpc/gen/weft/v1/api.js';
import { bidi, serverStream, unary } from '#rpc/server.js';

const admin = ['admin'] as const;

/** What of the twin copying needs. */
interface Seat {
  /** Directory that stands for the root of every container. */
  readonly root: string;
  note<T>(method: string, request: T): T;
}

export function copyHandlers(twin: Seat) {
  return {
    statPath: unary(admin, async ({ path, follow }: api.StatPathRequest): Promise<api.StatPathResponse> => {
      const facts = await factsBelow(twin.root, path, follow);
      if (!facts) return { exists: false, path, kind: '', size: 0, mode: 0, modifiedAt: 0, linkTarget: '' };
      return { ...facts, exists: true, linkTarget: facts.target ?? '' };
    }),
    copyOut: serverStream(admin, async function* (r: api.CopyOutRequest): AsyncGenerator<api.CopyOutResponse> {
      twin.note('copyOut', r);
      const skipped: string[] = [];
      const onSkipped = (name: string) => void skipped.push(name);
      for await (const value of packTree({ root: twin.root, path: r.path, follow: r.follow, as: r.as, onSkipped }))
        yield { part: { $case: 'chunk', value } };
      for (const value of skipped) yield { part: { $case: 'skipped', value } };
    }),
    copyIn: bidi(admin, async function* (requests: AsyncIterable<api.CopyInRequest>): AsyncGenerator<api.CopyInResponse> {
      const input = requests[Symbol.asyncIterator]();
      const first = (await input.next()).value as api.CopyInRequest;
      if (first.part?.$case !== 'start') return;
      const { directory, remove, makeParents } = twin.note('copyIn', first.part.value);
      const chunks = async function* () {
        for (let next = await input.next(); !next.done; next = await input.next())
          if (next.value.part?.$case === 'chunk') yield next.value.part.value;
      };
      for (const path of remove) await removeBelow(twin.root, path);
      yield await unpackTree(chunks(), { root: twin.root, into: directory, makeParents });
    }),
  };
}
