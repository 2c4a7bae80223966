/** Files of containers: the user's streams, passed on to the agent of the task's node and back. */
import { messageOf, WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { callUnary, openBidi, readStream } from '#rpc/client.js';
import type {
  CopyInRequest,
  CopyInResponse,
  CopyOutRequest,
  CopyOutResponse,
  StatPathRequest,
  StatPathResponse,
  TaskTarget,
} from '#rpc/gen/weft/v1/api.js';
import type { ClusterFollower } from '../cluster/follower.js';
import { forward } from './exec-calls.js';
import { taskMeant } from './find-tasks.js';
import type { NodeClients, Reach } from './node-clients.js';

export class CopyCalls {
  readonly #follower: ClusterFollower;
  readonly #clients: NodeClients;
  readonly #log: Log;

  constructor(follower: ClusterFollower, clients: NodeClients, log: Log) {
    this.#follower = follower;
    this.#clients = clients;
    this.#log = log;
  }

  /** @throws NOT_FOUND, BAD_VALUE, UNAVAILABLE */
  stat = async (request: StatPathRequest): Promise<StatPathResponse> => {
    const { reach, target } = this.#find(request.target);
    return callUnary(reach.client, 'statPath', { ...request, target }, { target: reach.target });
  };

  /** @throws NOT_FOUND, BAD_VALUE, UNAVAILABLE */
  async *out(request: CopyOutRequest, signal: AbortSignal): AsyncGenerator<CopyOutResponse> {
    const { reach, target } = this.#find(request.target);
    yield* readStream(reach.client.copyOut({ ...request, target }), signal, reach.target);
  }

  /** @throws NOT_FOUND, BAD_VALUE, CONFLICT, UNAVAILABLE */
  async *in(requests: AsyncIterable<CopyInRequest>, signal: AbortSignal): AsyncGenerator<CopyInResponse> {
    const inbox = requests[Symbol.asyncIterator]();
    const first = await inbox.next();
    const part = first.done ? undefined : first.value.part;
    if (part?.$case !== 'start') throw new WeftError('BAD_VALUE', 'the first message of a copy must say where it goes');
    const { reach, target } = this.#find(part.value.target);
    const call = openBidi<CopyInRequest, CopyInResponse>(reach.client.copyIn(), signal, reach.target);
    await call.send({ part: { $case: 'start', value: { ...part.value, target } } });
    void forward(inbox, call).catch((error: unknown) => this.#log.debug({ error: messageOf(error) }, 'what was to be copied broke off'));
    yield* call.messages;
  }

  #find(meant: TaskTarget | undefined): { reach: Reach; target: TaskTarget } {
    if (!meant) throw new WeftError('BAD_VALUE', 'which task is meant was not said');
    const { model } = this.#follower;
    const task = taskMeant(model, meant);
    return { reach: this.#clients.ofTask(model, task), target: { task: task.id, stack: '', service: '', index: 0 } };
  }
}
