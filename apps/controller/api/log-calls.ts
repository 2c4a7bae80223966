/** Logs of tasks, wherever they run, as one stream. */
import { asWeftError } from '#base/errors.js';
import type { Task } from '#model/task.js';
import { readStream } from '#rpc/client.js';
import type { LogLine, LogsRequest, LogsResponse } from '#rpc/gen/weft/v1/api.js';
import { findTask, tasksOfStack } from './find-tasks.js';
import { mergeSorted } from '#base/streams.js';
import { pause } from '#base/timers.js';
import { Confluence } from './confluence.js';
import { AskingCalls } from './asking-calls.js';

/** Lines of one message. */
const BATCH = 200;
/** How long a batch waits for more, in milliseconds. */
const GATHER_MS = 50;

export class LogCalls extends AskingCalls {
  /** @throws NOT_FOUND */
  async *read(request: LogsRequest, signal: AbortSignal): AsyncGenerator<LogsResponse> {
    const select = this.#selection(request);
    const tasks = select();
    const streams = this.#open(tasks, request, signal);
    if (!request.follow) yield* inBatches(mergeSorted(streams.map(lines), (l) => l.at));
    else if (request.tasks.length > 0) yield* this.#gather(new Confluence(streams).items(), signal);
    else yield* this.#followStack(tasks, streams, request, signal);
  }

  #selection(request: LogsRequest): () => Task[] {
    const { model } = this.follower;
    return () =>
      request.tasks.length > 0 ? request.tasks.map((t) => findTask(model, t)) : tasksOfStack(model, request.stack, request.services);
  }

  #open(tasks: readonly Task[], request: LogsRequest, signal: AbortSignal): AsyncGenerator<LogsResponse>[] {
    return [...groupByNode(tasks)].map(([nodeId, group]) => this.#ofNode(nodeId, group, request, signal));
  }

  /** Tasks that come later are followed too, from their first line, as long as the stack is there. */
  async *#followStack(
    tasks: readonly Task[],
    streams: AsyncGenerator<LogsResponse>[],
    request: LogsRequest,
    signal: AbortSignal,
  ): AsyncGenerator<LogsResponse> {
    const { model } = this.follower;
    const confluence = new Confluence(streams);
    const known = new Set(tasks.map((t) => t.id));
    const isThere = () => model.stacks.has(request.stack);
    const stop = this.follower.listen(() => {
      const fresh = isThere() ? [...model.tasks.values()].filter((t) => !known.has(t.id) && isOf(t, request)) : [];
      for (const task of fresh) known.add(task.id);
      for (const stream of this.#open(fresh, { ...request, tail: undefined }, signal)) confluence.add(stream);
      confluence.recheck();
    });
    try {
      yield* this.#gather(confluence.items(isThere, signal), signal);
    } finally {
      stop();
    }
  }

  /** A node that does not answer costs its own lines only, and says so. */
  async *#ofNode(nodeId: string, tasks: readonly Task[], request: LogsRequest, signal: AbortSignal): AsyncGenerator<LogsResponse> {
    const node = this.follower.model.nodes.get(nodeId);
    const names = new Map(tasks.map((t) => [t.id, t.name]));
    if (!node) return;
    const { client, target } = this.clients.reach(node);
    try {
      const call = client.logs({ ...request, stack: '', services: [], tasks: tasks.map((t) => t.id) });
      for await (const { lines: batch } of readStream(call, signal, target)) {
        yield { lines: batch.map((l) => ({ ...l, node: node.name, taskName: names.get(l.taskId) ?? l.taskName })) };
      }
    } catch (error) {
      const text = `logs of node ${node.name} cannot be read: ${asWeftError(error).message}`;
      const mark = tasks[0];
      if (mark) yield { lines: [{ taskId: mark.id, taskName: mark.name, node: node.name, at: this.clock.now(), stream: 'weft', text }] };
    }
  }

  /** As lines come, in time order within what comes together. */
  async *#gather(merged: AsyncGenerator<LogsResponse>, signal: AbortSignal): AsyncGenerator<LogsResponse> {
    let next = merged.next();
    try {
      for (;;) {
        const first = await next;
        if (first.done) return;
        const batch = [...first.value.lines];
        next = merged.next();
        const { over, end } = pause(this.clock, GATHER_MS, signal);
        let ended = false;
        while (batch.length < BATCH && !ended) {
          const more = await Promise.race([next, over]);
          if (!more) break;
          if (more.done) ended = true;
          else {
            batch.push(...more.value.lines);
            next = merged.next();
          }
        }
        end();
        yield { lines: batch.sort((a, b) => a.at - b.at) };
        if (ended) return;
      }
    } finally {
      next.catch(() => undefined);
      void merged.return(undefined).catch(() => undefined);
    }
  }
}

const isOf = (task: Task, request: LogsRequest): boolean =>
  task.stack === request.stack && (request.services.length === 0 || request.services.includes(task.service));

function groupByNode(tasks: readonly Task[]): Map<string, Task[]> {
  const out = new Map<string, Task[]>();
  for (const task of tasks) out.set(task.nodeId, [...(out.get(task.nodeId) ?? []), task]);
  return out;
}

async function* lines(stream: AsyncIterable<LogsResponse>): AsyncGenerator<LogLine> {
  for await (const response of stream) yield* response.lines;
}

async function* inBatches(stream: AsyncIterable<LogLine>): AsyncGenerator<LogsResponse> {
  let batch: LogLine[] = [];
  for await (const item of stream) {
    batch.push(item);
    if (batch.length < BATCH) continue;
    yield { lines: batch };
    batch = [];
  }
  if (batch.length > 0) yield { lines: batch };
}
