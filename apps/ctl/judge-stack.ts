/**
 * Is a stack up? Pure: states and the time go in, a verdict comes out.
 *
 * Up: every service runs as many tasks as wanted, none of them left over from before, each for a moment already (a program
 * that ends at once is reported running and ended within that moment). Failed: everything that is missing has a trouble
 * that was told (an image that is broken, a program that keeps ending, no free address), and nothing has got better for a
 * while. Anything else: wait. Agents try again for ever, so "failed" is a judgement, not a state.
 */
import type { ServiceState, StackState, TaskRow } from '#rpc/gen/weft/v1/api.js';

/** How long a task must have been seen running, in milliseconds: longer than statuses are gathered (100 ms). */
export const CONFIRM_MS = 200;
/** The same for a task that has ended before. */
export const CONFIRM_RESTARTED_MS = 3_000;
/** How long nothing may get better before troubles count as failure, in milliseconds. */
export const SETTLE_MS = 6_000;

export type Verdict = { kind: 'up' } | { kind: 'wait'; askAgainMs?: number } | { kind: 'failed'; reasons: string[] };

export interface Expectation {
  /** What `up` stored; older states are from before. */
  generation: number;
  /** Tasks that were there before and have to be replaced. */
  stale: ReadonlySet<string>;
}

export class StackJudge {
  readonly #expected: Expectation;
  /** Task id → since when it is seen running, monotonic milliseconds. */
  readonly #runningSince = new Map<string, number>();
  /** Task name or service → what was last told of it; forgotten once it runs. */
  readonly #troubles = new Map<string, string>();
  #best = -Infinity;
  #betterAt = 0;

  constructor(expected: Expectation) {
    this.#expected = expected;
  }

  /** When something last got better: one more task ran, or one that was in the way was gone. Monotonic milliseconds. */
  get betterAt(): number {
    return this.#betterAt;
  }

  /** @param now monotonic milliseconds */
  judge(state: StackState, now: number): Verdict {
    if (!state.exists || state.removing) return { kind: 'failed', reasons: ['the stack is being removed by somebody else'] };
    if (state.generation < this.#expected.generation) return { kind: 'wait' };
    const fresh = state.tasks.filter((row) => row.task && !this.#expected.stale.has(row.task.id));
    const leaving = state.tasks.filter((row) => this.#isLeaving(row));
    this.#noteRunning(fresh, now);
    this.#noteProgress(state, fresh, leaving, now);
    const ended = state.services.flatMap((service) => endedUpdate(service) ?? []);
    if (ended.length > 0) return { kind: 'failed', reasons: ended };
    // What becomes of it is the leader's to say.
    if (state.services.some((service) => service.update !== '')) return { kind: 'wait', askAgainMs: ASK_AGAIN_MS };
    const missing = state.services.filter((service) => runningIn(service, fresh) < service.wanted);
    if (missing.length > 0) return this.#weigh(missing, fresh, leaving, now);
    const mixed = state.services.some((service) => madeOf(service, fresh).size > 1);
    return leaving.length > 0 || mixed ? { kind: 'wait' } : this.#confirm(fresh, now);
  }

  /** Has to go before the stack is up. What a dead node still has cannot be waited for. */
  #isLeaving(row: TaskRow): boolean {
    // What has stopped is in nobody's way: its record goes by itself, or stays with a service that was stopped by command.
    if (row.nodeState === 'down' || (row.task?.desired === 'stop' && row.status?.state === 'stopped')) return false;
    return row.task?.desired === 'stop' || this.#expected.stale.has(row.task?.id ?? '');
  }

  #noteRunning(rows: readonly TaskRow[], now: number): void {
    for (const row of rows) {
      const id = row.task?.id ?? '';
      if (!isRunning(row)) {
        this.#runningSince.delete(id);
        continue;
      }
      if (!this.#runningSince.has(id)) this.#runningSince.set(id, now);
      if ((row.status?.restarts ?? 0) === 0) this.#troubles.delete(row.task?.name ?? '');
    }
  }

  #noteProgress(state: StackState, fresh: readonly TaskRow[], leaving: readonly TaskRow[], now: number): void {
    const running = state.services.reduce((sum, service) => sum + Math.min(service.wanted, runningIn(service, fresh)), 0);
    const score = running - leaving.length;
    if (score <= this.#best) return;
    this.#best = score;
    this.#betterAt = now;
  }

  #confirm(rows: readonly TaskRow[], now: number): Verdict {
    let waitMs = 0;
    for (const row of rows) {
      const needMs = (row.status?.restarts ?? 0) > 0 ? CONFIRM_RESTARTED_MS : CONFIRM_MS;
      const since = this.#runningSince.get(row.task?.id ?? '');
      if (since !== undefined) waitMs = Math.max(waitMs, since + needMs - now);
    }
    return waitMs > 0 ? { kind: 'wait', askAgainMs: waitMs } : { kind: 'up' };
  }

  #weigh(missing: readonly ServiceState[], rows: readonly TaskRow[], leaving: readonly TaskRow[], now: number): Verdict {
    let unexplained = false;
    const reasons: string[] = [];
    for (const service of missing) {
      const tasks = tasksIn(service, rows).filter((row) => !isAsWanted(service, row));
      for (const row of tasks) {
        const name = row.task?.name ?? '';
        const told = troubleOf(row);
        if (told !== undefined) this.#troubles.set(name, told);
        const trouble = this.#troubles.get(name);
        if (trouble === undefined) unexplained = true;
        else reasons.push(trouble);
      }
      // Fewer tasks than wanted: the leader cannot place them, has not come to it yet, or lets an old one end first.
      if (tasksIn(service, rows).length < service.wanted) {
        if (service.waiting === '' || service.waiting === NOT_PLACED || tasksIn(service, leaving).length > 0) unexplained = true;
        else reasons.push(`${service.name}: ${service.waiting}`);
      }
    }
    const settledMs = now - this.#betterAt;
    if (reasons.length > 0 && !unexplained && settledMs >= SETTLE_MS) return { kind: 'failed', reasons: [...new Set(reasons)] };
    return { kind: 'wait', askAgainMs: Math.max(50, SETTLE_MS - settledMs) };
  }
}

/** What `ctl run` brought is its own matter. */
export function withoutOneOffs(state: StackState): StackState {
  const oneOffs = new Set(state.services.flatMap(({ name, oneOffOf }) => (oneOffOf === '' ? [] : [name])));
  if (oneOffs.size === 0) return state;
  return {
    ...state,
    services: state.services.filter(({ name }) => !oneOffs.has(name)),
    tasks: state.tasks.filter(({ task }) => !oneOffs.has(task?.service ?? '')),
  };
}

/** What the controller says of tasks that it has not come to yet. */
const NOT_PLACED = 'not placed yet';
/** How it begins to say why a global service has no task at all. */
const ON_NO_NODE = 'on no node';

const ASK_AGAIN_MS = 1_000;

const isWanted = (row: TaskRow): boolean => row.task?.desired === 'run' && row.nodeState !== 'down';
const isRunning = (row: TaskRow): boolean =>
  isWanted(row) && row.status?.state === 'running' && (row.status.health ?? 'healthy') === 'healthy';
/** It ended well, and stays so. */
const isComplete = (row: TaskRow): boolean => isWanted(row) && row.status?.state === 'complete';

export const isJob = (service: ServiceState): boolean => service.mode.endsWith('-job');

const isAsWanted = (service: ServiceState, row: TaskRow): boolean => isComplete(row) || (!isJob(service) && isRunning(row));

const ENDED_UPDATES: Readonly<Record<string, string>> = { paused: 'paused', 'rolled-back': 'rolled back' };

/** One line about an update that did not go through. */
function endedUpdate({ name, update, updateMessage }: ServiceState): string | undefined {
  const end = ENDED_UPDATES[update];
  return end && `${name}: its update was ${end}${updateMessage ? `: ${updateMessage}` : ''}`;
}

/** What the tasks of a service are made of: more than one thing while a change is being rolled out. */
const madeOf = (service: ServiceState, rows: readonly TaskRow[]): Set<string> =>
  new Set(
    tasksIn(service, rows)
      .filter((row) => row.task?.desired === 'run')
      .map((row) => row.task?.specHash ?? ''),
  );

const tasksIn = (service: ServiceState, rows: readonly TaskRow[]): TaskRow[] => rows.filter((row) => row.task?.service === service.name);

/** Slots whose task is as it should be: running and healthy; of a job: complete. */
export const runningIn = (service: ServiceState, rows: readonly TaskRow[]): number =>
  new Set(
    tasksIn(service, rows)
      .filter((row) => isAsWanted(service, row))
      .map((row) => row.task?.slot),
  ).size;

/** What an agent adds about its next try: it changes with each, and is no part of the trouble. */
const NEXT_TRY = /; (trying again|restarting) in [\d.]+ ?\w+$/;

/** One line about a task that does not run as it should; undefined for one that is on its way. */
export function troubleOf(row: TaskRow): string | undefined {
  const { task, status } = row;
  if (!task || !status) return undefined;
  if (status.state === 'running' && status.health === 'unhealthy') return `${task.name} on ${row.nodeName}: unhealthy: ${status.message}`;
  if (status.state !== 'failed' && status.state !== 'restarting') return undefined;
  const exit = status.exitCode === undefined ? '' : `exited with code ${status.exitCode}`;
  const why = status.message.replace(NEXT_TRY, '') || exit;
  return `${task.name} on ${row.nodeName}: ${status.state}${why ? `: ${why}` : ''}`;
}

/** What stands in the way, for a person who waited until the time was up. */
export function openReasons(state: StackState): string[] {
  const reasons: string[] = [];
  for (const service of state.services) {
    const running = runningIn(service, state.tasks);
    if (running >= service.wanted) continue;
    const troubles = tasksIn(service, state.tasks).flatMap((row) => troubleOf(row) ?? []);
    if (troubles.length > 0) reasons.push(...troubles);
    else reasons.push(`${service.name}: ${service.waiting || 'on its way'}`);
  }
  return reasons;
}

/** Global services that no node fits are as they should be, and nowhere: what a person has to be told of them. */
export const nowhere = ({ services }: StackState): string[] =>
  services.filter((s) => s.wanted === 0 && s.waiting.startsWith(ON_NO_NODE)).map((s) => `${s.name}: ${s.waiting}`);

/** `web 2/3, db 1/1`. */
export const runningSummary = (state: StackState): string =>
  state.services.map((service) => `${service.name} ${runningIn(service, state.tasks)}/${service.wanted}`).join(', ');
