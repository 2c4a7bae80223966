/** A log of JSON lines on stderr, without pino: the keeper runs once on every node and should weigh little. */
import type { Log } from '#base/log.js';

const LEVELS = { debug: 20, info: 30, warn: 40, error: 50 } as const;

export function jsonLog(name: string, write: (line: string) => void = (line) => void process.stderr.write(line)): Log {
  const at =
    (level: keyof typeof LEVELS) =>
    (fields: object, message: string): void =>
      write(`${JSON.stringify({ level: LEVELS[level], time: Date.now(), name, pid: process.pid, ...fields, msg: message })}\n`);
  return { debug: () => undefined, info: at('info'), warn: at('warn'), error: at('error') };
}
