/** The time between leaving names and virtual addresses and the stop signal. */
import type { Clock } from '#base/clock.js';
import { WeftError } from '#base/errors.js';
import { pause } from '#base/timers.js';
import { MOST_UNCONFIRMED_MS } from '#model/confirmation.js';
import { RESTARTED_BY_COMMAND, type Task } from '#model/task.js';
import type { Contact } from './contact.js';
import type { DesiredStore } from './desired-store.js';
import { mayRun } from './plan-tasks.js';

export interface DrainTools {
  say: (message: string) => void;
  store: Pick<DesiredStore, 'task' | 'hasTask' | 'onChange'>;
  contact: Pick<Contact, 'state' | 'onChange'>;
  clock: Clock;
  /** The agent ends. */
  ending: AbortSignal;
}

/**
 * Every node was told at the same time that nothing new is to be sent to it: what it began may end, and what is on its way arrive.
 * One that stops on partition has no time for that where there is one.
 * @param drainMs of the task
 * @throws UNAVAILABLE when the agent ends meanwhile: its successor begins the drain anew
 */
export async function drainTask(task: Task, drainMs: number, tools: DrainTools): Promise<void> {
  const { say, store, contact, ending } = tools;
  say('draining');
  const mustHurry = () => !mayRun(task, contact.state);
  // Gone from the view: nothing will be said about it any more.
  const isOut = () => (store.task(task.id)?.drained ?? !store.hasTask(task.id)) || mustHurry();
  await until(isOut, drainMs, tools);
  if (!isOut() && !ending.aborted) {
    say('draining; not every node has taken it out yet');
    await until(isOut, MOST_UNCONFIRMED_MS, tools);
  }
  // From here on nothing new comes, and the last that came has its time.
  await until(mustHurry, drainMs, tools);
  if (ending.aborted) throw new WeftError('UNAVAILABLE', 'the agent is stopping');
}

/**
 * As `drainTask`, of a task that stays: its status takes it out of names and virtual addresses, and no node says when it has. Ends early when
 * it is told to stop. @throws UNAVAILABLE when the agent ends meanwhile
 */
export async function drainForRestart(task: Task, drainMs: number, tools: DrainTools): Promise<void> {
  const { say, store, contact, ending } = tools;
  say(RESTARTED_BY_COMMAND);
  await until(() => store.task(task.id)?.desired !== 'run' || !mayRun(task, contact.state), drainMs, tools);
  if (ending.aborted) throw new WeftError('UNAVAILABLE', 'the agent is stopping');
}

/** Until it holds, the agent ends, or the time is over. */
async function until(holds: () => boolean, mostMs: number, { store, contact, clock, ending }: DrainTools): Promise<void> {
  if (holds()) return;
  const { over, end } = pause(clock, mostMs, ending);
  const look = () => holds() && end();
  const stops = [store.onChange(look), contact.onChange(look)];
  await over;
  for (const stop of stops) await stop();
}
