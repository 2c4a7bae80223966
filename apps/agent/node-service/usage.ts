/** The calls of the node service about what runs in containers: signals, processes, and what they use. */
import type { Clock } from '#base/clock.js';
import { asWeftError } from '#base/errors.js';
import type {
  ListProcessesRequest,
  ListProcessesResponse,
  SignalTasksRequest,
  SignalTasksResponse,
  TaskProcesses,
  TaskStats,
  WatchStatsRequest,
  WatchStatsResponse,
} from '#rpc/gen/weft/v1/operations.js';
import type { ContainerUsage, Runtime } from '#runtime/runtime.js';
import { runningTask, type TaskCallDeps } from './running-task.js';

/** Between two readings, in milliseconds. */
const EVERY_MS = 1_000;
/** What a share of CPU time is measured over when one reading is all that is wanted. */
const ONCE_MS = 500;

export interface UsageCallDeps extends TaskCallDeps {
  runtime: Pick<Runtime, 'kill' | 'processes' | 'usage'>;
  /** Left out where nothing is measured. */
  clock?: Clock | undefined;
  /** undefined for a task this node does not know. */
  taskName: (taskId: string) => string | undefined;
}

const nameOf = (deps: UsageCallDeps, taskId: string): string => deps.taskName(taskId) ?? taskId.slice(0, 64);

/** @throws NOT_FOUND if one of them does not run, before any gets it; BAD_VALUE */
export async function signalTasks(deps: UsageCallDeps, { tasks, signal }: SignalTasksRequest): Promise<SignalTasksResponse> {
  const ids = tasks.map((task) => runningTask(deps, task));
  for (const id of ids) {
    await deps.runtime.kill(id, signal);
    deps.log.info({ task: nameOf(deps, id), signal }, 'a signal was sent to a container');
  }
  return { tasks: ids.map((id) => nameOf(deps, id)) };
}

/** A task that does not run costs its own answer only. */
export async function listProcesses(deps: UsageCallDeps, request: ListProcessesRequest): Promise<ListProcessesResponse> {
  const tasks = request.tasks.map(async (taskId): Promise<TaskProcesses> => {
    const base = { taskId, taskName: nameOf(deps, taskId), node: deps.nodeName, processes: [], error: '' };
    try {
      return { ...base, processes: await deps.runtime.processes(runningTask(deps, taskId)) };
    } catch (error) {
      return { ...base, error: asWeftError(error).message };
    }
  });
  return { tasks: await Promise.all(tasks) };
}

interface Reading {
  cpuMs: number;
  /** Monotonic milliseconds. */
  at: number;
}

/** A reading of each task about once a second; the first tells no share of CPU time. */
export async function* watchStats(
  deps: UsageCallDeps,
  request: WatchStatsRequest,
  signal: AbortSignal,
): AsyncGenerator<WatchStatsResponse> {
  const before = new Map<string, Reading>();
  const { clock } = deps;
  if (!clock) return;
  for (let first = true; !signal.aborted; first = false) {
    const tasks = await Promise.all(request.tasks.map((id) => readOne(deps, clock, id, before)));
    if (!first || !request.once) yield { tasks };
    if (request.once && !first) return;
    await clock.sleep(request.once ? ONCE_MS : EVERY_MS, signal).catch(() => undefined);
  }
}

async function readOne(deps: UsageCallDeps, clock: Clock, taskId: string, before: Map<string, Reading>): Promise<TaskStats> {
  const base = { taskId, taskName: nameOf(deps, taskId), node: deps.nodeName, at: clock.now(), error: '' };
  try {
    const usage = await deps.runtime.usage(runningTask(deps, taskId));
    const now = { cpuMs: usage.cpuMs, at: clock.monotonic() };
    const last = before.get(taskId);
    before.set(taskId, now);
    return { ...base, ...usage, ...shareOf(last, now) };
  } catch (error) {
    before.delete(taskId);
    return { ...base, ...NOTHING, error: asWeftError(error).message };
  }
}

/** A counter that went back is that of a new container. */
function shareOf(last: Reading | undefined, now: Reading): { cpuPercent?: number } {
  if (!last || now.at <= last.at || now.cpuMs < last.cpuMs) return {};
  return { cpuPercent: ((now.cpuMs - last.cpuMs) / (now.at - last.at)) * 100 };
}

const NOTHING: ContainerUsage = {
  cpuMs: 0,
  memoryBytes: 0,
  memoryLimitBytes: 0,
  networkInBytes: 0,
  networkOutBytes: 0,
  blockInBytes: 0,
  blockOutBytes: 0,
  pids: 0,
};
