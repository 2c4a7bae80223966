/** The controller process: options, then the parts, until a signal. */
import 'reflect-metadata';
import type { INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { asWeftError, messageOf } from '#base/errors.js';
import { createLogger, nestLogger } from '#nest-kit/logger.js';
import { AppModule } from './app.module.js';
import { removedError } from './open-store.js';
import { HELP, parseOptions } from './options.js';

/** A stop that takes longer than this, in milliseconds, is cut: etcd's leases tell the others. */
const STOP_TIMEOUT_MS = 3_000;

/** Exit code of a controller that was removed: starting it again is of no use (systemd unit: RestartPreventExitStatus). */
const REMOVED_EXIT = 78;

async function main(argv: readonly string[]): Promise<void> {
  const options = parseOptions(argv, process.env);
  if (!options) {
    process.stdout.write(HELP);
    return;
  }
  const log = createLogger(options.logLevel, { app: 'controller', name: options.name });
  process.on('unhandledRejection', (reason) =>
    log.error({ error: messageOf(reason), stack: reason instanceof Error ? reason.stack : undefined }, 'an error that nobody handled'),
  );
  const made: { app?: INestApplicationContext } = {};
  let stopping = false;
  const stop = (reason: string, exitCode: number) => {
    if (stopping) return;
    stopping = true;
    log.info({ reason }, 'stopping');
    setTimeout(() => process.exit(exitCode), STOP_TIMEOUT_MS).unref();
    void Promise.resolve(made.app?.close()).finally(() => process.exit(exitCode));
  };
  const onRemoved = () => {
    log.error({}, removedError().message);
    stop('removed', REMOVED_EXIT);
  };
  const module = AppModule.with(options, log, onRemoved);
  made.app = await NestFactory.createApplicationContext(module, { logger: nestLogger(log), abortOnError: false });
  process.on('SIGTERM', () => stop('SIGTERM', 0));
  process.on('SIGINT', () => stop('SIGINT', 0));
}

/** Runs until a signal ends it. @param argv options, without node and file */
export function program(argv: readonly string[]): void {
  main(argv).catch((thrown: unknown) => {
    const error = asWeftError(thrown);
    process.stderr.write(`error: ${error.what}\n${error.why ? `why:   ${error.why}\n` : ''}hint:  ${error.hint}\n`);
    process.exit(error.code === 'FORBIDDEN' ? REMOVED_EXIT : error.exit);
  });
}
