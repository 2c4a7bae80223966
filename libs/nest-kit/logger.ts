/** Logs as JSON lines on stderr (pino), behind the Log port; and the bridge that Nest's own messages come through. */
import type { LoggerService } from '@nestjs/common';
import { pino } from 'pino';
import type { Log } from '#base/log.js';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

export const LOG_LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error', 'silent'];

/**
 * @param bindings fields that every line carries
 * @param destination file descriptor, 2 (stderr) by default: stdout is for data
 */
export function createLogger(level: LogLevel, bindings: Record<string, string> = {}, destination = 2): Log {
  const logger = pino(
    {
      level,
      base: bindings,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      errorKey: 'error',
    },
    pino.destination({ dest: destination, sync: true }),
  );
  return {
    debug: (fields, message) => logger.debug(fields, message),
    info: (fields, message) => logger.info(fields, message),
    warn: (fields, message) => logger.warn(fields, message),
    error: (fields, message) => logger.error(fields, message),
  };
}

/** The same log with more fields on every line. */
export const withFields = (log: Log, fields: object): Log => ({
  debug: (more, message) => log.debug({ ...fields, ...more }, message),
  info: (more, message) => log.info({ ...fields, ...more }, message),
  warn: (more, message) => log.warn({ ...fields, ...more }, message),
  error: (more, message) => log.error({ ...fields, ...more }, message),
});

/** Nest's start-up chatter is for debugging; its warnings and errors are ours too. */
export function nestLogger(log: Log): LoggerService {
  const text = (message: unknown): string => (typeof message === 'string' ? message : JSON.stringify(message));
  const context = (rest: unknown[]): object => ({ nest: rest.map(text).join(' ') });
  return {
    log: (message: unknown, ...rest: unknown[]) => log.debug(context(rest), text(message)),
    debug: (message: unknown, ...rest: unknown[]) => log.debug(context(rest), text(message)),
    verbose: (message: unknown, ...rest: unknown[]) => log.debug(context(rest), text(message)),
    warn: (message: unknown, ...rest: unknown[]) => log.warn(context(rest), text(message)),
    error: (message: unknown, ...rest: unknown[]) => log.error(context(rest), text(message)),
    fatal: (message: unknown, ...rest: unknown[]) => log.error(context(rest), text(message)),
  };
}
