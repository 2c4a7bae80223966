/** The controller process: options, then the parts, until a signal. */
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { asWeftError, messageOf } from '#base/errors.js';
import { createLogger, nestLogger } from '#nest-kit/logger.js';
import { AppModule } from './app.module.js';
import { HELP, parseOptions } from './options.js';

/** A stop that takes longer than this, in milliseconds, is cut: etcd's leases tell the others. */
const STOP_TIMEOUT_MS = 3_000;

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  if (!options) {
    process.stdout.write(HELP);
    return;
  }
  const log = createLogger(options.logLevel, { app: 'controller', name: options.name });
  process.on('unhandledRejection', (reason) =>
    log.error({ error: messageOf(reason), stack: reason instanceof Error ? reason.stack : undefined }, 'an error that nobody handled'),
  );
  const app = await NestFactory.createApplicationContext(AppModule.with(options, log), { logger: nestLogger(log), abortOnError: false });
  let stopping = false;
  const stop = (signal: NodeJS.Signals) => {
    if (stopping) return;
    stopping = true;
    log.info({ signal }, 'stopping');
    setTimeout(() => process.exit(0), STOP_TIMEOUT_MS).unref();
    void app.close().finally(() => process.exit(0));
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}

main().catch((thrown: unknown) => {
  const error = asWeftError(thrown);
  process.stderr.write(`error: ${error.what}\n${error.why ? `why:   ${error.why}\n` : ''}hint:  ${error.hint}\n`);
  process.exit(error.exit);
});
