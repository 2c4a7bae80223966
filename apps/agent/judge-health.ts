/**
 * What the results of health checks mean. Pure; the rules are Docker's (moby, daemon/health.go): `retries` failures in a row
 * make a container unhealthy, failures in the start period do not count until one check has succeeded, one success makes
 * it healthy.
 */
import type { HealthProbe } from '#model/healthcheck.js';
import type { TaskStatus } from '#model/task.js';
import type { CommandResult } from './run-command.js';

export interface Health {
  state: NonNullable<TaskStatus['health']>;
  /** Failures in a row that count. */
  streak: number;
  /** Of the last check, short; '' before the first. */
  output: string;
}

export const newHealth = (state: Health['state'] = 'starting'): Health => ({ state, streak: 0, output: '' });

/** @param sinceStartMs when the check began, counted from the start of the container */
export function afterProbe(health: Health, result: CommandResult, probe: HealthProbe, sinceStartMs: number): Health {
  const output = shortOutput(result.output);
  if ('exitCode' in result && result.exitCode === 0) return { state: 'healthy', streak: 0, output };
  const said = 'error' in result ? result.error : `exited with code ${result.exitCode}`;
  const told = output === '' ? said : `${said}: ${output}`;
  if (health.state === 'starting' && sinceStartMs < probe.startPeriodMs) return { ...health, output: told };
  const streak = health.streak + 1;
  return { state: streak >= probe.retries ? 'unhealthy' : health.state, streak, output: told };
}

/** Milliseconds from the end of one check (or the start) to the next. */
export const nextProbeMs = (health: Health, probe: HealthProbe, sinceStartMs: number): number =>
  health.state === 'starting' && sinceStartMs < probe.startPeriodMs ? probe.startIntervalMs : probe.intervalMs;

/** Longest output that a status message carries, in characters. */
const MAX_OUTPUT = 200;

/** One line, the end of it: what a program says last tells most. */
function shortOutput(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length > MAX_OUTPUT ? `…${line.slice(1 - MAX_OUTPUT)}` : line;
}

/** What a status says of it; nothing while all is well. */
export const healthMessage = (health: Health): string => (health.state === 'unhealthy' ? `its health check ${health.output}` : '');
