/** What is asked of running tasks, wherever they are: signals, restarts, processes, what they use. Each node is asked for its own, all at once. */
import { asWeftError, WeftError } from '#base/errors.js';
import { linkedSignal } from '#base/linked-signal.js';
import { merge } from '#base/streams.js';
import type { Task } from '#model/task.js';
import { drainOf } from '#planner/drain.js';
import { runsIn } from '#planner/serving.js';
import { callUnary, readStream } from '#rpc/client.js';
import type {
  ListProcessesRequest,
  ListProcessesResponse,
  RestartTasksRequest,
  RestartTasksResponse,
  SignalTasksRequest,
  SignalTasksResponse,
  TaskProcesses,
  TaskStats,
  WatchStatsRequest,
  WatchStatsResponse,
} from '#rpc/gen/weft/v1/operations.js';
import { findTask, tasksOfStack } from './find-tasks.js';
import { AskingCalls } from './asking-calls.js';

const PROCESSES_TIMEOUT_MS = 5_000;
/** Tasks that come and go are seen after so long, in milliseconds. */
const LOOK_AGAIN_MS = 1_000;

export class TaskCalls extends AskingCalls {
  /** @throws NOT_FOUND, BAD_VALUE, UNAVAILABLE */
  signal = async ({ tasks, signal }: SignalTasksRequest): Promise<SignalTasksResponse> => {
    const { model } = this.follower;
    const found = tasks.map((name) => findTask(model, name));
    if (found.length === 0) throw new WeftError('BAD_VALUE', 'a signal needs a task');
    const answers = await Promise.all(
      [...byNode(found)].map(([, group]) => {
        const { client, target } = this.clients.ofTask(model, group[0] as Task);
        return callUnary(client, 'signalTasks', { tasks: group.map((t) => t.id), signal }, { target });
      }),
    );
    return { tasks: answers.flatMap((a) => a.tasks).sort() };
  };

  /** Each leaves names and virtual addresses first, as a task does that is replaced. @throws NOT_FOUND, BAD_VALUE, CONFLICT, UNAVAILABLE */
  restart = async ({ tasks, graceMs }: RestartTasksRequest): Promise<RestartTasksResponse> => {
    const { model } = this.follower;
    const found = [...new Set(tasks.map((name) => findTask(model, name)))];
    if (found.length === 0) throw new WeftError('BAD_VALUE', 'a restart needs a task');
    const answers = await Promise.all(
      [...byNode(found)].map(([, group]) => {
        const { client, target } = this.clients.ofTask(model, group[0] as Task);
        const drainMs = Object.fromEntries(group.map((task) => [task.id, drainOf(model, task)]));
        return callUnary(client, 'restartTasks', { tasks: group.map((t) => t.id), graceMs, drainMs }, { target });
      }),
    );
    return { tasks: answers.flatMap((a) => a.tasks).sort() };
  };

  /** A node that does not answer is told in the answers about its tasks. @throws NOT_FOUND */
  processes = async ({ tasks }: ListProcessesRequest): Promise<ListProcessesResponse> => {
    const found = tasks.map((name) => findTask(this.follower.model, name));
    const answers = await Promise.all([...byNode(found)].map(([, group]) => this.#processesOf(group)));
    const order = new Map(found.map((task, i) => [task.id, i]));
    return { tasks: answers.flat().sort((a, b) => (order.get(a.taskId) ?? 0) - (order.get(b.taskId) ?? 0)) };
  };

  async #processesOf(group: readonly Task[]): Promise<TaskProcesses[]> {
    const { model } = this.follower;
    try {
      const { client, target } = this.clients.ofTask(model, group[0] as Task);
      const request = { tasks: group.map((t) => t.id) };
      return (await callUnary(client, 'listProcesses', request, { target, timeoutMs: PROCESSES_TIMEOUT_MS })).tasks;
    } catch (thrown) {
      const error = asWeftError(thrown).message;
      return group.map((t) => ({ taskId: t.id, taskName: t.name, node: model.nodes.get(t.nodeId)?.name ?? '', processes: [], error }));
    }
  }

  /** Follows the tasks that are meant as they come and go. @throws NOT_FOUND */
  async *stats(request: WatchStatsRequest, signal: AbortSignal): AsyncGenerator<WatchStatsResponse> {
    let tasks = this.#meant(request);
    if (request.once) return yield* merge([...byNode(tasks)].map(([, group]) => this.#statsOf(group, request, signal)));
    while (!signal.aborted) {
      const changed = new AbortController();
      const { signal: either, unlink } = linkedSignal(signal, changed.signal);
      const watching = this.#untilOthers(tasks, request, either).then((others) => {
        tasks = others;
        changed.abort();
      });
      yield* merge([...byNode(tasks)].map(([, group]) => this.#statsOf(group, request, either)));
      await watching;
      unlink();
    }
  }

  #meant(request: WatchStatsRequest): Task[] {
    const { model } = this.follower;
    const named = request.tasks.map((name) => findTask(model, name));
    const all = request.stack === '' ? [...model.tasks.values()] : tasksOfStack(model, request.stack, request.services);
    return (request.tasks.length > 0 ? named : all).filter((task) => runsIn(model, task));
  }

  /** Resolves with the tasks that are meant once they are others; with none when the call ends. */
  async #untilOthers(before: readonly Task[], request: WatchStatsRequest, signal: AbortSignal): Promise<Task[]> {
    const signature = (tasks: readonly Task[]) =>
      tasks
        .map((t) => t.id)
        .sort()
        .join();
    while (!signal.aborted) {
      await this.clock.sleep(LOOK_AGAIN_MS, signal).catch(() => undefined);
      const now = this.follower.model.stacks.has(request.stack) || request.stack === '' ? this.#stillMeant(request) : [];
      if (signature(now) !== signature(before)) return now;
    }
    return [];
  }

  #stillMeant(request: WatchStatsRequest): Task[] {
    try {
      return this.#meant(request);
    } catch {
      // A task that was named is gone, or a service.
      return [];
    }
  }

  async *#statsOf(group: readonly Task[], request: WatchStatsRequest, signal: AbortSignal): AsyncGenerator<WatchStatsResponse> {
    const { model } = this.follower;
    const node = model.nodes.get(group[0]?.nodeId ?? '')?.name ?? '';
    const names = new Map(group.map((t) => [t.id, t.name]));
    try {
      const { client, target } = this.clients.ofTask(model, group[0] as Task);
      const call = client.watchStats({ stack: '', services: [], tasks: group.map((t) => t.id), once: request.once });
      for await (const { tasks } of readStream(call, signal, target))
        yield { tasks: tasks.map((t) => ({ ...t, node, taskName: names.get(t.taskId) ?? t.taskName })) };
    } catch (thrown) {
      const error = asWeftError(thrown).message;
      yield { tasks: group.map((t): TaskStats => ({ ...NOTHING, taskId: t.id, taskName: t.name, node, at: this.clock.now(), error })) };
      // The others go on; it is tried again when the tasks change.
      if (!request.once) await this.clock.sleep(2 ** 30, signal).catch(() => undefined);
    }
  }
}

const NOTHING: Omit<TaskStats, 'taskId' | 'taskName' | 'node' | 'at' | 'error'> = {
  cpuMs: 0,
  memoryBytes: 0,
  memoryLimitBytes: 0,
  networkInBytes: 0,
  networkOutBytes: 0,
  blockInBytes: 0,
  blockOutBytes: 0,
  pids: 0,
};

function byNode(tasks: readonly Task[]): Map<string, Task[]> {
  const out = new Map<string, Task[]>();
  for (const task of tasks) out.set(task.nodeId, [...(out.get(task.nodeId) ?? []), task]);
  return out;
}
