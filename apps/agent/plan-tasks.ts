/**
 * What to do about the tasks of this node: a pure function of what should be, what is, what was tried, and the time.
 * It decides; loops/tasks.ts carries out.
 */
import { backoffMs } from '#base/backoff.js';
import type { RestartPolicy } from '#model/stack.js';
import type { Task, TaskStatus } from '#model/task.js';
import type { ContainerInfo } from '#runtime/runtime.js';
import type { ContactState } from './contact.js';

/** Delay before a container that ended is started again, in milliseconds. */
const RESTART_BACKOFF = { initialMs: 100, maxMs: 10_000 };
/** A run that lasted this long was a good one: the next delay starts small again. */
const GOOD_RUN_MS = 10_000;

/**
 * new: not looked at yet; running: started or adopted; waiting: it ended or could not be made, and is tried again at
 * `notBefore`; done: it ended and is not started again; gone: stopped as told.
 */
export type Phase = 'new' | 'running' | 'waiting' | 'done' | 'gone';

/** What the agent remembers of a task. */
export interface TaskMemory {
  phase: Phase;
  /** Ends and failures in a row: the exponent of the delay. */
  attempts: number;
  /** Milliseconds since the epoch: no try before. */
  notBefore: number;
  /** Times the container was started again after it ended. */
  restarts: number;
  /** Of `restarts`, those that somebody asked for. */
  restartsAsked?: number;
  /** Start of the present or last run, ms since the epoch. */
  startedAt?: number;
  /** Of the last run that ended. */
  exitCode?: number;
  /** Of `restarts`, those that the policy's `max_attempts` counts. */
  tries: number;
  /** Of the present run, where its health is checked. */
  health?: TaskStatus['health'];
  /** It has post_start hooks, and they have not ended well yet: a container that runs is not as it should be. */
  hooksPending?: boolean;
  /** Somebody asked for a restart, and it has not been started since. */
  restartAsked?: RestartOrder;
}

/** How a task is to be restarted that somebody asked it of. Milliseconds. */
export interface RestartAsked {
  /** In which what it began goes on and nothing new reaches it. */
  drainMs: number;
  /** Between the stop signal and SIGKILL; the container's own if left out. */
  graceMs?: number;
}

/** As it is remembered. */
export interface RestartOrder extends RestartAsked {
  /** Marks the container that is made for it (`ORDER_LABEL`); an agent of before gave none. */
  order?: number;
}

/** What of it outlives the agent. */
export type Past = Partial<
  Pick<TaskMemory, 'restarts' | 'restartsAsked' | 'startedAt' | 'exitCode' | 'tries' | 'health' | 'hooksPending' | 'restartAsked'>
> & {
  done?: boolean;
};

export const newMemory = (past: Past = {}): TaskMemory => ({
  phase: past.done ? 'done' : 'new',
  attempts: 0,
  notBefore: 0,
  restarts: past.restarts ?? 0,
  ...(past.restartsAsked ? { restartsAsked: past.restartsAsked } : {}),
  startedAt: past.startedAt,
  exitCode: past.exitCode,
  tries: past.tries ?? 0,
  health: past.health,
  ...(past.hooksPending ? { hooksPending: true } : {}),
  ...(past.restartAsked ? { restartAsked: past.restartAsked } : {}),
});

export type Operation =
  /** Make it and start it, with the files that an earlier container of it wrote. `again`: it ran before. */
  | { type: 'run'; task: Task; again: boolean }
  /** It runs already: take note, touch nothing. */
  | { type: 'adopt'; task: Task }
  /** Somebody asked for it: end its process and start it again in its container. */
  | { type: 'restart'; task: Task; asked: RestartOrder }
  /** Its container ended (or vanished: no code). */
  | { type: 'ended'; task: Task; exitCode?: number; exitedAt: number }
  /** It stops on partition, and its node is cut off: its container goes, and is made anew when the node is back. */
  | { type: 'suspend'; task: Task }
  /** Stop its container, if there is one, and remove it. */
  | { type: 'stop'; task: Task; exists: boolean }
  /** A container of a task that the view does not hold. */
  | { type: 'remove-leftover'; containerId: string; name: string };

export interface TaskPlan {
  operations: Operation[];
  /** Milliseconds since the epoch: plan again then, if nothing else comes. */
  wakeAt?: number;
}

export interface PlanInput {
  desired: readonly Task[];
  /** false until a view came from a controller and was believed, and while none is: then nothing is taken for a leftover. */
  believed: boolean;
  containers: readonly ContainerInfo[];
  memory: ReadonlyMap<string, TaskMemory>;
  /** Whether controllers hear this node (contact.ts). */
  contact: ContactState;
  /** Tasks and containers that an operation is under way for: left alone. */
  busy: ReadonlySet<string>;
  /** Tasks and containers whose removal failed: not again before that time, ms since the epoch. */
  holdOff: ReadonlyMap<string, number>;
  /** Milliseconds since the epoch. */
  now: number;
}

/** Label that marks a container as a task's; its value is the task's id. */
export const TASK_LABEL = 'weft.task';
export const NAME_LABEL = 'weft.name';
/** Marks a container that was made because a restart was asked for; its value says which. */
export const ORDER_LABEL = 'weft.restart';

export function planTasks(input: PlanInput): TaskPlan {
  const byId = new Map(input.containers.map((c) => [c.id, c]));
  const operations: Operation[] = [];
  const wakes: number[] = [];
  for (const task of input.desired) {
    if (input.busy.has(task.id)) continue;
    const container = byId.get(task.id);
    const memory = input.memory.get(task.id) ?? newMemory();
    const decided = decide(task, container, memory, input);
    if (typeof decided === 'number') wakes.push(decided);
    else if (decided && !(decided.type === 'run' && waitsForOwner(task, byId))) operations.push(decided);
  }
  for (const decided of leftovers(input)) {
    if (typeof decided === 'number') wakes.push(decided);
    else operations.push(decided);
  }
  return wakes.length > 0 ? { operations, wakeAt: Math.min(...wakes) } : { operations };
}

/** Whose namespace it shares comes first; once that has gone down, its namespace stays, and whoever runs in it goes on. */
const waitsForOwner = (task: Task, containers: ReadonlyMap<string, ContainerInfo>): boolean =>
  task.shares !== undefined && !isUp(containers.get(task.shares));

const isUp = (container: ContainerInfo | undefined): boolean => container?.state === 'running' || container?.state === 'paused';

/** An operation; or the time to look again; or nothing. */
type Decided = Operation | number | undefined;

function decide(task: Task, container: ContainerInfo | undefined, memory: TaskMemory, input: PlanInput): Decided {
  if (task.desired === 'stop') return decideStop(task, container, memory, input);
  if (!mayRun(task, input.contact)) return decideSuspended(task, container, memory, input);
  const decided = decideRun(task, container, memory, input.now);
  // Before it was heard once, this node may long have been given up.
  return isStart(decided) && input.contact === 'unknown' && task.onPartition === 'stop' ? undefined : decided;
}

/** Whether a task may go on: one that stops on partition, not on a node that is cut off. */
export const mayRun = ({ onPartition }: Task, contact: ContactState): boolean => onPartition !== 'stop' || contact !== 'cut off';

const isStart = (decided: Decided): boolean => typeof decided === 'object' && (decided.type === 'run' || decided.type === 'restart');

function decideSuspended(task: Task, container: ContainerInfo | undefined, memory: TaskMemory, { holdOff, now }: PlanInput): Decided {
  if (!isUp(container)) return memory.phase === 'running' ? ended(task, container, now) : undefined;
  const notBefore = holdOff.get(task.id) ?? 0;
  return now < notBefore ? notBefore : { type: 'suspend', task };
}

function decideStop(task: Task, container: ContainerInfo | undefined, memory: TaskMemory, { holdOff, now }: PlanInput): Decided {
  if (memory.phase === 'gone' && !container) return undefined;
  const notBefore = holdOff.get(task.id) ?? 0;
  return now < notBefore ? notBefore : { type: 'stop', task, exists: container !== undefined };
}

function decideRun(task: Task, container: ContainerInfo | undefined, memory: TaskMemory, now: number): Decided {
  const up = isUp(container);
  if (memory.restartAsked) return decideRestart(task, memory.restartAsked, up, memory, now);
  switch (memory.phase) {
    case 'running':
      return up ? undefined : ended(task, container, now);
    case 'new':
      if (up) return memory.hooksPending ? { type: 'run', task, again: false } : { type: 'adopt', task };
      return container?.state === 'stopped' || (!container && mayEndForGood(task, memory))
        ? ended(task, container, now)
        : { type: 'run', task, again: false };
    case 'done':
      return up ? { type: 'adopt', task } : undefined;
    case 'waiting':
    case 'gone':
      if (up && !memory.hooksPending) return { type: 'adopt', task };
      return now < memory.notBefore
        ? memory.notBefore
        : { type: 'run', task, again: memory.exitCode !== undefined || memory.startedAt !== undefined };
  }
}

/** Until it was started again: whoever was at it before may have died at any step, and its policy has no say. */
function decideRestart(task: Task, asked: RestartOrder, isUp: boolean, { phase, notBefore }: TaskMemory, now: number): Decided {
  if (phase === 'waiting' && now < notBefore) return notBefore;
  return isUp ? { type: 'restart', task, asked } : { type: 'run', task, again: true };
}

/** It ran, and its container went while nobody looked (a reboot): its restart policy has the say. */
const mayEndForGood = ({ restart }: Task, memory: TaskMemory): boolean =>
  memory.startedAt !== undefined && restart !== undefined && (restart.condition !== 'any' || restart.maxAttempts !== undefined);

const ended = (task: Task, container: ContainerInfo | undefined, now: number): Operation => ({
  type: 'ended',
  task,
  exitCode: container?.exitCode,
  exitedAt: container?.exitedAt ?? now,
});

function leftovers(input: PlanInput): (Operation | number)[] {
  if (!input.believed) return [];
  const wanted = new Set(input.desired.map((t) => t.id));
  return input.containers
    .filter((c) => c.labels[TASK_LABEL] !== undefined && !wanted.has(c.id) && !input.busy.has(c.id))
    .map((c) => {
      const notBefore = input.holdOff.get(c.id) ?? 0;
      return input.now < notBefore ? notBefore : { type: 'remove-leftover', containerId: c.id, name: c.labels[NAME_LABEL] ?? c.id };
    });
}

/**
 * What is remembered after a run ended: whether it is started again (Compose Deploy Specification, `restart_policy`), and when.
 * The delay is the policy's, or that of the backoff where that is longer: a crash loop never costs a node much.
 * @param policy restarted whatever it ended with, if left out
 * @param random as for backoffMs
 */
export function afterEnd(
  memory: TaskMemory,
  end: { exitCode?: number; exitedAt: number },
  now: number,
  policy?: RestartPolicy,
  random?: () => number,
): TaskMemory {
  const ranMs = memory.startedAt === undefined ? 0 : end.exitedAt - memory.startedAt;
  const tries = policy?.windowMs !== undefined && ranMs >= policy.windowMs ? 0 : memory.tries;
  const after = { ...memory, tries, exitCode: end.exitCode, health: undefined };
  if (!startsAgain(policy, end.exitCode, tries)) return { ...after, phase: 'done' };
  const attempts = ranMs >= GOOD_RUN_MS ? 0 : memory.attempts;
  const delayMs = Math.max(policy?.delayMs ?? 0, backoffMs(attempts, { ...RESTART_BACKOFF, random }));
  return { ...after, phase: 'waiting', attempts: attempts + 1, notBefore: now + delayMs };
}

/** A run whose code nobody knows counts as failed. */
function startsAgain(policy: RestartPolicy | undefined, exitCode: number | undefined, tries: number): boolean {
  if (!policy) return true;
  if (policy.condition === 'none' || (policy.condition === 'on-failure' && exitCode === 0)) return false;
  return policy.maxAttempts === undefined || tries < policy.maxAttempts;
}

/** Why what ended is not started again. */
export function notAgain(policy: RestartPolicy | undefined, memory: TaskMemory): string {
  if (policy?.condition === 'none') return 'not to be restarted';
  return memory.exitCode === 0 ? 'done' : `given up after ${memory.tries} ${memory.tries === 1 ? 'restart' : 'restarts'}`;
}

/** What is remembered after a try to make or start it failed. */
export function afterFailure(memory: TaskMemory, now: number, random?: () => number): TaskMemory {
  const notBefore = now + backoffMs(memory.attempts, { ...RESTART_BACKOFF, random });
  return { ...memory, phase: 'waiting', attempts: memory.attempts + 1, notBefore };
}

/** What is remembered of a task that was stopped because its node is cut off: its next start is none that its policy counts. */
export const afterSuspension = (memory: TaskMemory): TaskMemory => ({
  ...memory,
  phase: 'waiting',
  attempts: Math.max(1, memory.attempts),
  notBefore: 0,
  startedAt: undefined,
  exitCode: undefined,
  health: undefined,
});

/** again: it ran before; asked: somebody asked for this start, so its policy does not count it. */
export interface HowStarted {
  again: boolean;
  asked?: RestartOrder | undefined;
}

/** What is remembered once it runs. What was asked for after its process began is yet to come. */
export function afterStart(memory: TaskMemory, now: number, { again, asked }: HowStarted): TaskMemory {
  return {
    ...memory,
    phase: 'running',
    hooksPending: undefined,
    ...(asked && memory.restartAsked?.order === asked.order ? { restartAsked: undefined } : {}),
    startedAt: now,
    restarts: memory.restarts + (again ? 1 : 0),
    ...(again && asked ? { restartsAsked: (memory.restartsAsked ?? 0) + 1 } : {}),
    tries: memory.tries + (again && !asked ? 1 : 0),
  };
}

/** What an agent that comes back remembers: a restart that its predecessor carried out, and did not live to note, is not due again. */
export function afterReturn(memory: TaskMemory, container: ContainerInfo | undefined, now: number): TaskMemory {
  const { restartAsked: asked, hooksPending } = memory;
  if (asked?.order === undefined || hooksPending || !container || container.state === 'created') return memory;
  if (container.labels[ORDER_LABEL] !== String(asked.order)) return memory;
  return { ...afterStart(memory, now, { again: true, asked }), phase: 'new' };
}

/** `2 s`, `0.4 s`: a delay as a person reads it. */
export const inSeconds = (ms: number): string => `${ms < 950 ? Math.max(0.1, Math.round(ms / 100) / 10) : Math.round(ms / 1000)} s`;

/** An exit status tells of SIGKILL, not of who sent it: a program killed for its memory would look like one killed by hand. */
export function howItEnded(exitCode: number | undefined, wasOutOfMemory: boolean): string {
  if (exitCode === undefined) return 'its container is gone';
  return wasOutOfMemory ? `ran out of memory and exited with code ${exitCode}` : `exited with code ${exitCode}`;
}
