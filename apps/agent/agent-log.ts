/** The agent's log: JSON lines on stdout, by pino. Fields first, then one sentence of what was done. */
import { pino } from 'pino';
import type { Log } from '#base/log.js';

export function agentLog(level: string, fields: Record<string, string>): Log {
  // Synchronous: the last line before an end is the one that matters, and lines are few.
  return pino(
    {
      level,
      base: fields,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ fd: 1, sync: true }),
  );
}
