#!/usr/bin/env node
/** The entry of `ctl`: streams in, exit code out. */
import { run } from './run.js';
import { processShell } from './shell.js';

// A reader that has seen enough (`ctl ps | head -1`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

let passedOn: number | undefined;
const code = await run(
  process.argv.slice(2),
  processShell((given) => {
    passedOn = given;
  }),
);
// Not process.exitCode: standard input may still be open, and would keep the process.
process.exit(code === 0 ? (passedOn ?? 0) : code);
