/** A connection to the cluster's API, as the chosen context says. */
import { WeftError } from '#base/errors.js';
import { callUnary, connect } from '#rpc/client.js';
import { ApiClient } from '#rpc/gen/weft/v1/api.js';
import { loadContext } from './context.js';
import type { Shell } from './shell.js';

export interface Connection {
  api: ApiClient;
  /** For messages: the controller that is spoken to. */
  target: string;
  context: string;
}

/** How long one of several controllers has to answer before another is taken, in milliseconds. */
const CHOICE_TIMEOUT_MS = 3_000;

/** Opens a connection, hands it to `use` and closes it. @throws NOT_FOUND without a context; UNAVAILABLE; what `use` throws */
export async function withApi<T>(shell: Shell, chosen: string | undefined, use: (connection: Connection) => Promise<T>): Promise<T> {
  const context = await loadContext(chosen, shell.env);
  const clients = context.endpoints.map((target) => ({ target, api: connect(ApiClient, target, context.identity, 'controller') }));
  try {
    const { target, api } = await choose(clients);
    return await use({ api, target: `the controller at ${target} (context "${context.name}")`, context: context.name });
  } finally {
    for (const { api } of clients) api.close();
  }
}

type Candidate = { target: string; api: ApiClient };

/** The first to answer. One controller needs no choice: the call itself tells whether it is there. */
async function choose(clients: readonly Candidate[]): Promise<Candidate> {
  const [only] = clients;
  if (only && clients.length === 1) return only;
  try {
    return await Promise.any(
      clients.map(async (candidate) => {
        await callUnary(candidate.api, 'getCluster', {}, { timeoutMs: CHOICE_TIMEOUT_MS, target: candidate.target });
        return candidate;
      }),
    );
  } catch (error) {
    const why = error instanceof AggregateError ? error.errors.map((e: Error) => e.message).join('; ') : String(error);
    throw new WeftError('UNAVAILABLE', { what: 'no controller of the cluster answers', why, cause: error });
  }
}
