/** `ctl` as a process: arguments in, exit code out. Apart from main.ts, so that a bundle of it can be loaded and then called. */
import { run } from './run.js';
import { processShell } from './shell.js';

/** Runs one command and ends the process. */
export async function program(argv: readonly string[]): Promise<void> {
  // A reader that has seen enough (`ctl ps | head -1`) is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  let passedOn: number | undefined;
  const shell = processShell((given) => {
    passedOn = given;
  });
  const code = await run(argv, shell);
  // Not process.exitCode: standard input may still be open, and would keep the process.
  process.exit(code === 0 ? (passedOn ?? 0) : code);
}
