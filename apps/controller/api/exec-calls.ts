/** A command in a task, or its own process: the user's stream, passed on to the agent of the task's node, and back, at the pace of the slower side. */
import { messageOf, WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { openBidi, type Bidi } from '#rpc/client.js';
import type { ExecRequest, ExecResponse } from '#rpc/gen/weft/v1/api.js';
import type { ClusterFollower } from '../cluster/follower.js';
import { taskMeant } from './find-tasks.js';
import type { NodeClients } from './node-clients.js';

export class ExecCalls {
  readonly #follower: ClusterFollower;
  readonly #clients: NodeClients;
  readonly #log: Log;

  constructor(follower: ClusterFollower, clients: NodeClients, log: Log) {
    this.#follower = follower;
    this.#clients = clients;
    this.#log = log;
  }

  /** @throws NOT_FOUND, BAD_VALUE, UNAVAILABLE */
  exec = (requests: AsyncIterable<ExecRequest>, signal: AbortSignal): AsyncGenerator<ExecResponse> =>
    this.#passOn('exec', requests, signal);

  /** @throws NOT_FOUND, BAD_VALUE, UNAVAILABLE */
  attach = (requests: AsyncIterable<ExecRequest>, signal: AbortSignal): AsyncGenerator<ExecResponse> =>
    this.#passOn('attach', requests, signal);

  async *#passOn(verb: 'exec' | 'attach', requests: AsyncIterable<ExecRequest>, signal: AbortSignal): AsyncGenerator<ExecResponse> {
    const { model } = this.#follower;
    const inbox = requests[Symbol.asyncIterator]();
    const first = await inbox.next();
    const message = first.done ? undefined : first.value.message;
    if (message?.$case !== 'start') throw new WeftError('BAD_VALUE', 'the first message must be the start');
    const task = taskMeant(model, message.value);
    const { client, target } = this.#clients.ofTask(model, task);
    const call = openBidi<ExecRequest, ExecResponse>(client[verb](), signal, target);
    await call.send({ message: { $case: 'start', value: { ...message.value, task: task.id, stack: '', service: '' } } });
    void forward(inbox, call).catch((error: unknown) => this.#log.debug({ error: messageOf(error) }, 'the input of an exec broke off'));
    yield* call.messages;
  }
}

/** Passes on what the caller sends, at the pace of the node. */
export async function forward<Req, Res>(inbox: AsyncIterator<Req>, call: Bidi<Req, Res>): Promise<void> {
  for (;;) {
    const next = await inbox.next();
    if (next.done) break;
    await call.send(next.value);
  }
  call.end();
}
