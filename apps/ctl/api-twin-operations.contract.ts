/** The part of the API's twin that operates a stack: what is said holds at once. */
import { WeftError } from '#base/errors.js';
import type { Stack } from '#model/stack.js';
import type * as api from '#rpc/gen/weft/v1/api.js';
import type * as ops from '#rpc/gen/weft/v1/operations.js';
import { serverStream, unary } from '#rpc/server.js';

const admin = ['admin'] as const;

/** What of the twin is operated. */
interface Operated {
  readonly stacks: ReadonlyMap<string, { stack: Stack; generation: number }>;
  readonly stopped: Set<string>;
  readonly restarted: Map<string, number>;
  readonly moves: ops.TaskMove[];
  readonly unmoved: ops.Unmoved[];
  rows(name: string): api.TaskRow[];
  note<T>(method: string, request: T): T;
}

const step = (name: string, action: string, detail: string): api.PlanStep => ({ action, kind: 'service', name, details: [detail] });

/** What a task of the twin uses. */
const USE: Omit<ops.TaskStats, 'taskId' | 'taskName' | 'node'> = {
  at: 1,
  cpuPercent: 12.345,
  cpuMs: 5_000,
  memoryBytes: 3 * 1024 * 1024,
  memoryLimitBytes: 12 * 1024 * 1024,
  networkInBytes: 1024,
  networkOutBytes: 2048,
  blockInBytes: 0,
  blockOutBytes: 512,
  pids: 2,
  error: '',
};

export function operationHandlers(twin: Operated) {
  const named = (names: readonly string[]) =>
    [...twin.stacks.keys()].flatMap((n) => twin.rows(n)).filter((row) => names.includes(row.task?.id ?? ''));
  return {
    operateStack: unary(admin, async ({ name, operation }: ops.OperateStackRequest): Promise<api.OperateStackResponse> => {
      twin.note('operateStack', { name, operation });
      const found = twin.stacks.get(name);
      if (!found || !operation) throw new WeftError('NOT_FOUND', { what: `there is no stack ${name}` });
      const all = Object.keys(found.stack.services);
      const meant = operation.$case === 'scale' ? Object.keys(operation.value.replicas) : operation.value.services;
      const unknown = meant.find((service) => !all.includes(service));
      if (unknown !== undefined) throw new WeftError('NOT_FOUND', { what: `stack ${name} has no service ${unknown}` });
      const chosen = meant.length > 0 ? meant : all;
      const steps = chosen.map((service) => operate(twin, found.stack, service, operation));
      if (steps.some((s) => s.action !== 'keep')) found.generation++;
      return { generation: found.generation, steps };
    }),
    rebalance: unary(admin, async (r: ops.RebalanceRequest): Promise<ops.RebalanceResponse> => {
      twin.note('rebalance', r);
      if (r.stack !== '' && !twin.stacks.has(r.stack)) throw new WeftError('NOT_FOUND', { what: `there is no stack ${r.stack}` });
      return { moves: twin.moves, unmoved: twin.unmoved };
    }),
    signalTasks: unary(admin, async (r: ops.SignalTasksRequest) => {
      twin.note('signalTasks', r);
      if (r.signal === 'NOTHING') throw new WeftError('BAD_VALUE', '"NOTHING" is not a signal');
      return { tasks: named(r.tasks).map((row) => row.task?.name ?? '') };
    }),
    restartTasks: unary(admin, async (r: ops.RestartTasksRequest): Promise<ops.RestartTasksResponse> => {
      twin.note('restartTasks', r);
      for (const task of r.tasks) twin.restarted.set(task, (twin.restarted.get(task) ?? 0) + 1);
      return { tasks: named(r.tasks).map((row) => row.task?.name ?? '') };
    }),
    listProcesses: unary(admin, async (r: ops.ListProcessesRequest): Promise<ops.ListProcessesResponse> => ({
      tasks: named(r.tasks).map((row, i) => {
        const base = { taskId: row.task?.id ?? '', taskName: row.task?.name ?? '', node: row.nodeName };
        if (i > 0) return { ...base, processes: [], error: 'node node2 did not answer' };
        const process = { user: 'web', pid: 4711, ppid: 1, cpuMs: 65_000, startedAt: 0, terminal: '?', command: 'app --serve\u001b[31m' };
        return { ...base, processes: [process], error: '' };
      }),
    })),
    watchEvents: serverStream(admin, async function* (r: ops.WatchEventsRequest): AsyncGenerator<ops.WatchEventsResponse> {
      twin.note('watchEvents', r);
      const base = {
        at: Date.UTC(2026, 0, 31, 10),
        kind: 'task',
        stack: 'shop',
        service: 'web',
        name: 'shop-web-1',
        id: '0000000000000001',
        node: 'node2',
      };
      yield { events: [{ ...base, action: 'reschedule', message: 'from node1: node node1 was declared dead', sequence: 1 }] };
      yield { events: [{ ...base, action: 'complete', message: '', exitCode: 0, sequence: 2 }] };
    }),
    watchStats: serverStream(admin, async function* (r: ops.WatchStatsRequest, _peer, signal): AsyncGenerator<ops.WatchStatsResponse> {
      twin.note('watchStats', r);
      const rows = twin.rows(r.stack).filter((row) => r.services.length === 0 || r.services.includes(row.task?.service ?? ''));
      for (let i = 0; i < (r.once ? 1 : 3) && !signal.aborted; i++)
        for (const row of rows)
          yield { tasks: [{ ...USE, taskId: row.task?.id ?? '', taskName: row.task?.name ?? '', node: row.nodeName }] };
    }),
  };
}

function operate(twin: Operated, stack: Stack, name: string, operation: NonNullable<ops.OperateStackRequest['operation']>): api.PlanStep {
  const service = stack.services[name];
  const isStopped = twin.stopped.has(name);
  switch (operation.$case) {
    case 'scale': {
      const replicas = operation.value.replicas[name] ?? 0;
      if (!service || service.replicas === replicas) return step(name, 'keep', `it has ${replicas} already`);
      const before = service.replicas;
      service.replicas = replicas;
      return step(name, 'change', `replicas: ${before} → ${replicas}`);
    }
    case 'stop':
      twin.stopped.add(name);
      return isStopped ? step(name, 'keep', 'it is stopped already') : step(name, 'change', 'stops');
    case 'start':
      twin.stopped.delete(name);
      return isStopped ? step(name, 'change', 'starts') : step(name, 'keep', 'it was not stopped');
    case 'restart':
      twin.stopped.delete(name);
      return step(name, 'recreate', 'restarts');
    case 'removeOneOffs':
      delete stack.services[name];
      return step(name, 'remove', 'one-off');
  }
}
