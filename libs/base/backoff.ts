/** Delays between tries: exponential with full jitter (AWS Architecture Blog, "Exponential Backoff and Jitter"). */
export interface BackoffOptions {
  /** First delay, in milliseconds. */
  initialMs: number;
  /** Upper bound of a delay, in milliseconds. */
  maxMs: number;
  factor?: number;
  /** A number in [0, 1); Math.random by default. Hand in a fixed one to make delays exact. */
  random?: () => number;
}

/**
 * The delay before try number `attempt` (0 for the first retry), in milliseconds. Half of it is fixed and half is jitter,
 * so that a delay never collapses to nothing.
 */
export function backoffMs(attempt: number, options: BackoffOptions): number {
  const { initialMs, maxMs, factor = 2, random = Math.random } = options;
  const ceiling = Math.min(maxMs, initialMs * factor ** Math.max(0, attempt));
  return Math.round(ceiling / 2 + (ceiling / 2) * random());
}
