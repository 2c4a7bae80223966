/** The time between leaving names and virtual addresses and the stop signal. */
import type { Clock } from '#base/clock.js';
import { WeftError } from '#base/errors.js';
import { MOST_UNCONFIRMED_MS } from '#model/confirmation.js';
import type { Task } from '#model/task.js';
import type { DesiredStore } from './desired-store.js';

export interface DrainTools {
  say: (message: string) => void;
  store: Pick<DesiredStore, 'task' | 'hasTask' | 'onChange'>;
  clock: Clock;
  /** The agent ends. */
  ending: AbortSignal;
}

/**
 * Every node was told at the same time that nothing new is to be sent to it: what it began may end, and what is on its way arrive.
 * @param drainMs of the task
 * @throws UNAVAILABLE when the agent ends meanwhile: its successor begins the drain anew
 */
export async function drainTask(task: Task, drainMs: number, { say, store, clock, ending }: DrainTools): Promise<void> {
  say('draining');
  // Gone from the view: nothing will be said about it any more.
  const isDrained = () => store.task(task.id)?.drained ?? !store.hasTask(task.id);
  await until(isDrained, drainMs, { store, clock, ending });
  if (!isDrained() && !ending.aborted) {
    say('draining; not every node has taken it out yet');
    await until(isDrained, MOST_UNCONFIRMED_MS, { store, clock, ending });
  }
  // From here on nothing new comes, and the last that came has its time.
  await clock.sleep(drainMs, ending).catch(() => undefined);
  if (ending.aborted) throw new WeftError('UNAVAILABLE', 'the agent is stopping');
}

/** Until the view says so, the agent ends, or the time is over. */
async function until(holds: () => boolean, mostMs: number, { store, clock, ending }: Omit<DrainTools, 'say'>): Promise<void> {
  if (holds()) return;
  const done = new AbortController();
  const stop = store.onChange(() => holds() && done.abort());
  await clock.sleep(mostMs, AbortSignal.any([done.signal, ending])).catch(() => undefined);
  await stop();
}
