/**
 * `ctl` for those who ask again and again: the command line's own `run`, in one process that stays. Starting a process for each listing takes a
 * third of a second of processor time, more than what is asked for. Over IPC: `{ id, args }` in, `{ id, code, stdout, stderr }` out.
 */
import { Readable, Writable } from 'node:stream';
import { systemClock } from '../../dist/libs/base/clock.js';
import { run } from '../../dist/apps/ctl/run.js';

/** A stream, and what was written to it. */
function collected() {
  const parts = [];
  const stream = new Writable({ write: (chunk, _, done) => (parts.push(chunk), done()) });
  return { stream, text: () => Buffer.concat(parts).toString() };
}

process.on('disconnect', () => process.exit(0));
process.on('message', async ({ id, args }) => {
  const [out, err] = [collected(), collected()];
  let passedOn;
  const code = await run(args, {
    stdin: Readable.from([]),
    stdout: out.stream,
    stderr: err.stream,
    env: process.env,
    cwd: process.cwd(),
    clock: systemClock,
    setExitCode: (given) => (passedOn = given),
    setRaw: () => undefined,
    onSignal: () => () => undefined,
  });
  process.send({ id, code: code === 0 ? (passedOn ?? 0) : code, stdout: out.text(), stderr: err.text() });
});
