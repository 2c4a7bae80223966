/** A command in a task: the user's stream, passed on to the agent of the task's node, and back, at the pace of the slower side. */
import { messageOf, WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { openBidi, type Bidi } from '#rpc/client.js';
import type { ExecRequest, ExecResponse, ExecStart } from '#rpc/gen/weft/v1/api.js';
import type { Task } from '#model/task.js';
import type { ClusterState } from '#planner/cluster-state.js';
import type { ClusterFollower } from '../cluster/follower.js';
import { findTask, replicaOf } from './find-tasks.js';
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
  async *exec(requests: AsyncIterable<ExecRequest>, signal: AbortSignal): AsyncGenerator<ExecResponse> {
    const { model } = this.#follower;
    const inbox = requests[Symbol.asyncIterator]();
    const first = await inbox.next();
    const message = first.done ? undefined : first.value.message;
    if (message?.$case !== 'start') throw new WeftError('BAD_VALUE', 'the first message of an exec must be its start');
    const task = whichTask(model, message.value);
    const node = model.nodes.get(task.nodeId);
    if (!node) throw new WeftError('NOT_FOUND', `the node of task ${task.name} is gone`);
    const { client, target } = this.#clients.reach(node);
    const call = openBidi<ExecRequest, ExecResponse>(client.exec(), signal, target);
    await call.send({ message: { $case: 'start', value: { ...message.value, task: task.id, stack: '', service: '' } } });
    void forward(inbox, call).catch((error: unknown) => this.#log.debug({ error: messageOf(error) }, 'the input of an exec broke off'));
    yield* call.messages;
  }
}

function whichTask(state: ClusterState, start: ExecStart): Task {
  return start.task === '' ? replicaOf(state, start.stack, start.service, start.index) : findTask(state, start.task);
}

async function forward(inbox: AsyncIterator<ExecRequest>, call: Bidi<ExecRequest, ExecResponse>): Promise<void> {
  for (;;) {
    const next = await inbox.next();
    if (next.done) break;
    await call.send(next.value);
  }
  call.end();
}
