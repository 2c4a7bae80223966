/** Asks the controllers for the bytes of a config, secret or tree. */
import { asWeftError, WeftError } from '#base/errors.js';
import type { ContentKind } from '#model/content.js';
import { connect, readStream } from '#rpc/client.js';
import { AgentHubClient } from '#rpc/gen/weft/v1/agent_hub.js';
import type { Identity } from '#trust/identity.js';

/** The bytes in order. @throws WeftError */
export type FetchContent = (kind: ContentKind, id: string) => AsyncIterable<Uint8Array>;

const TIMEOUT_MS = 60_000;

/** Controllers are asked one after another, until one has it. @param controllers host:port of each */
export function contentFetcher(controllers: () => readonly string[], identity: Identity): FetchContent {
  return async function* fetchContent(kind, id) {
    let failure = new WeftError('UNAVAILABLE', 'no controller is known');
    for (const target of controllers()) {
      let hasBegun = false;
      try {
        for await (const data of fetchFrom(target, identity, kind, id)) {
          hasBegun = true;
          yield data;
        }
        return;
      } catch (error) {
        failure = asWeftError(error);
        // Half of it is with the caller already: it begins anew by itself.
        if (hasBegun) break;
      }
    }
    throw new WeftError(failure.code, { what: `cannot fetch a ${kind} from the controllers`, why: failure.message, cause: failure });
  };
}

async function* fetchFrom(target: string, identity: Identity, kind: ContentKind, id: string): AsyncGenerator<Uint8Array> {
  const client = connect(AgentHubClient, target, identity, 'controller');
  try {
    const call = client.fetchContent({ kind, id }, { deadline: Date.now() + TIMEOUT_MS });
    for await (const { data } of readStream(call, undefined, target)) yield data;
  } finally {
    client.close();
  }
}
