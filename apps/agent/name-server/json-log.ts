/** A log of JSON lines on stderr. Not pino, which would add 8 MB to a process that runs on every node. */
import type { Log } from '#base/log.js';

const LEVELS = { info: 30, warn: 40, error: 50 } as const;

export function jsonLog(name: string): Log {
  const at =
    (level: keyof typeof LEVELS) =>
    (fields: object, message: string): void =>
      void process.stderr.write(
        `${JSON.stringify({ level: LEVELS[level], time: Date.now(), name, pid: process.pid, ...fields, msg: message })}\n`,
      );
  return { debug: () => undefined, info: at('info'), warn: at('warn'), error: at('error') };
}
