/**
 * When a node counts as dead, and when it is certain that what was to stop there has stopped. Controllers and agents never
 * speak of it to one another: each keeps its part of these times, so they stand in one place.
 *
 *     0                 the last heartbeat that a controller has read was sent
 *     SILENCE_MS        its session is given up
 *     deadAfterMs       the leader declares it dead: its tasks may be placed elsewhere, but for those that stop on partition
 *     + PATIENCE_MS     the agent stops those, with their grace periods
 *     + stop + MARGIN   the leader may place these elsewhere, too
 *
 * Nobody compares clocks: each counts on its own, the leader from when it has itself seen the node dead.
 */
import type { Task } from './task.js';

/**
 * An agent that is not heard for this long, in milliseconds, has no session any more. After a cut of 2 s, with a heartbeat
 * each half second, TCP's retransmission (RFC 6298) brings the next word after 3.5 s at most.
 */
export const SILENCE_MS = 3_000;
/** From the agent's last word to the death of its node, in milliseconds, where the cluster does not say. */
export const DEFAULT_DEAD_AFTER_MS = 4_000;
/** A cut of 2 s moves nothing: for that the leader has to wait a second after the session has gone. */
export const LEAST_DEAD_AFTER_MS = SILENCE_MS + 1_000;
/** One hour. */
export const MOST_DEAD_AFTER_MS = 3_600_000;
/** The agent waits longer than the leader, in milliseconds, so that a cut that moves nothing stops nothing either. */
const PATIENCE_MS = 1_000;
/** For timers that come late, a kill that takes its time, and clocks that do not run equally fast: milliseconds. */
const MARGIN_MS = 2_000;

/** Of the cluster's record, or of what a node is told of it. */
type Setting = { deadAfterMs?: number } | undefined;

export const deadAfterOf = (setting: Setting): number => setting?.deadAfterMs ?? DEFAULT_DEAD_AFTER_MS;

/** After how long without a controller that hears it, in milliseconds, an agent stops what is to stop on a node that is cut off. */
export const cutOffAfterMs = (setting: Setting): number => deadAfterOf(setting) + PATIENCE_MS;

/** How long after the death of its node, in milliseconds, a task that stops on partition may still run there. */
export function goesOnForMs({ container, stopGraceMs = 0 }: Pick<Task, 'container' | 'stopGraceMs'>): number {
  const hooksMs = container.preStop ? container.stopGraceMs : 0;
  return PATIENCE_MS + hooksMs + Math.max(stopGraceMs, container.stopGraceMs) + MARGIN_MS;
}
