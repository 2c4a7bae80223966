/** The log call of the node service: lines of the tasks asked for, in batches. */
import { WeftError } from '#base/errors.js';
import { ID_PATTERN } from '#model/names.js';
import { readLog, type LogEntry } from '#logs/read-log.js';
import type { LogLine, LogsRequest, LogsResponse } from '#rpc/gen/weft/v1/api.js';
import { batch, merge, mergeSorted } from '#base/streams.js';

const BATCH_LINES = 100;
const BATCH_MS = 50;

export interface LogCallDeps {
  nodeName: string;
  /** undefined for a task this node does not know. */
  taskName: (taskId: string) => string | undefined;
  logFile: (taskId: string) => string;
  /** Resolves when what the container has printed is in its file. */
  flush: (taskId: string) => Promise<void>;
}

/** @throws NOT_FOUND for a task this node never had; BAD_VALUE */
export async function* readLogs(deps: LogCallDeps, request: LogsRequest, signal: AbortSignal): AsyncGenerator<LogsResponse> {
  const sources = request.tasks.map((id) => linesOf(deps, id, request, signal));
  // Following, lines are passed on as they come; looking back, in the order of their time.
  const lines = request.follow ? merge(sources) : mergeSorted(sources, (line) => line.at);
  for await (const group of batch(lines, BATCH_LINES, BATCH_MS)) yield { lines: group };
}

async function* linesOf(deps: LogCallDeps, taskId: string, request: LogsRequest, signal: AbortSignal): AsyncGenerator<LogLine> {
  if (!ID_PATTERN.test(taskId)) throw new WeftError('BAD_VALUE', `${JSON.stringify(taskId.slice(0, 64))} is not a task id`);
  const taskName = deps.taskName(taskId);
  if (taskName === undefined) throw new WeftError('NOT_FOUND', { what: `no task ${taskId} on node ${deps.nodeName}` });
  await deps.flush(taskId);
  const options = { tail: request.tail, sinceMs: request.since, untilMs: request.until, follow: request.follow, signal };
  for await (const entry of readLog(deps.logFile(taskId), options)) yield lineOf(entry, taskId, taskName, deps.nodeName);
}

const lineOf = (entry: LogEntry, taskId: string, taskName: string, node: string): LogLine => ({
  taskId,
  taskName,
  node,
  at: entry.at,
  stream: entry.stream,
  text: entry.text,
});
