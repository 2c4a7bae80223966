/** What the benchmarks share: running commands, timing, tables of rows. */
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';

export function sh(command, args, options = {}) {
  const r = spawnSync(command, args, { encoding: 'utf8', timeout: 120_000, ...options });
  if (r.status !== 0) throw new Error(`${command} ${args.join(' ')} exited with ${r.status}: ${r.stderr || r.stdout}`);
  return r.stdout;
}

export const has = (command) => spawnSync('sh', ['-c', 'command -v "$0"', command]).status === 0;

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Starts a process that lives until `stop`. */
export function daemon(command, args, logFile) {
  const log = openSync(logFile, 'a');
  const child = spawn(command, args, { stdio: ['ignore', log, log], detached: true });
  closeSync(log);
  return {
    pid: child.pid,
    async stop(signal = 'SIGTERM') {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill(signal);
      const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
      await gone;
      clearTimeout(timer);
    },
  };
}

/** Tries every `everyMs` until `probe` gives something true. */
export async function until(timeoutMs, everyMs, probe) {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    let last;
    try {
      const value = await probe();
      if (value) return value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms${last ? `: ${last.message}` : ''}`);
    await pause(everyMs);
  }
}

/** @param p 0 … 1 */
export const percentile = (numbers, p) =>
  numbers.toSorted((a, b) => a - b)[Math.min(numbers.length - 1, Math.ceil(numbers.length * p) - 1)];

export const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];

/** rows: {name, value, unit, ratio?, note?} */
export function printRows(title, rows) {
  console.log(`\n${title}`);
  for (const { name, value, unit, ratio, note } of rows) {
    const figure = `${typeof value === 'number' ? Math.round(value * 100) / 100 : value} ${unit}`;
    console.log(
      `  ${name.padEnd(52)} ${figure.padStart(14)}${ratio === undefined ? '' : `   ratio ${ratio.toFixed(2)}`}${note ? `   ${note}` : ''}`,
    );
  }
}
