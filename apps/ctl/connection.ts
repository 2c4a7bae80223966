/** A connection to the cluster's API, as the chosen context says: to any of its controllers that works. */
import { WeftError } from '#base/errors.js';
import { callUnary, connect } from '#rpc/client.js';
import { ApiClient, type GetClusterResponse } from '#rpc/gen/weft/v1/api.js';
import { learnEndpoints, loadContext } from './context.js';
import type { Shell } from './shell.js';

export interface Connection {
  api: ApiClient;
  /** For messages: the controller that is spoken to. */
  target: string;
  context: string;
  /** Another connection, after this one broke: to a controller that answers now. @throws UNAVAILABLE */
  again(): Promise<Connection>;
}

/** How long one of several controllers has to answer before another is taken, in milliseconds. */
const CHOICE_TIMEOUT_MS = 3_000;

/** Opens a connection, hands it to `use` and closes it. @throws NOT_FOUND without a context; UNAVAILABLE; what `use` throws */
export async function withApi<T>(shell: Shell, chosen: string | undefined, use: (connection: Connection) => Promise<T>): Promise<T> {
  const context = await loadContext(chosen, shell.env);
  const clients = context.endpoints.map((target) => ({ target, api: connect(ApiClient, target, context.identity, 'controller') }));
  const connection = ({ target, api }: Candidate): Connection => ({
    api,
    target: `the controller at ${target} (context "${context.name}")`,
    context: context.name,
    again: async () => connection((await choose(clients)).candidate),
  });
  try {
    const { candidate, told } = await first(clients);
    const result = await use(connection(candidate));
    await learn(shell, context.name, told);
    return result;
  } finally {
    for (const { api } of clients) api.close();
  }
}

type Candidate = { target: string; api: ApiClient };

interface Choice {
  candidate: Candidate;
  /** What it tells of the cluster; undefined when it does not. */
  told: Promise<GetClusterResponse | undefined>;
}

/** One controller needs no choice: the call itself tells whether it is there. What it knows of others is asked beside that. */
async function first(clients: readonly Candidate[]): Promise<Choice> {
  const [only] = clients;
  if (only && clients.length === 1) return { candidate: only, told: ask(only).catch(() => undefined) };
  return choose(clients);
}

const ask = ({ api, target }: Candidate): Promise<GetClusterResponse> =>
  callUnary(api, 'getCluster', {}, { timeoutMs: CHOICE_TIMEOUT_MS, target });

/** The first to answer that is in touch with etcd; if there is none, the first to answer. @throws UNAVAILABLE */
async function choose(clients: readonly Candidate[]): Promise<Choice> {
  const answers = clients.map(async (candidate) => ({ candidate, told: await ask(candidate) }));
  const current = answers.map(async (answer) => {
    const { told } = await answer;
    if (told.stale !== '') throw new Error(told.stale);
    return answer;
  });
  try {
    const { candidate, told } = await Promise.any(current).catch(() => Promise.any(answers));
    return { candidate, told: Promise.resolve(told) };
  } catch (error) {
    const why = error instanceof AggregateError ? error.errors.map((e: Error) => e.message).join('; ') : String(error);
    throw new WeftError('UNAVAILABLE', { what: 'no controller of the cluster answers', why, cause: error });
  }
}

/** Keeps where the controllers are. What the command did counts more than whether that can be written. */
async function learn(shell: Shell, context: string, told: Choice['told']): Promise<void> {
  const cluster = await told;
  if (cluster) await learnEndpoints(context, cluster.controllers, shell.env).catch(() => undefined);
}
