/**
 * Plays a container and its shim: node log-keeper-writer.mjs FIFO BYTES_PER_SECOND SECONDS.
 * Writes numbered lines of 100 bytes, blocking as a program's stdout does, and prints what it saw as one line of JSON.
 */
import { openSync, writeSync } from 'node:fs';
import { performance } from 'node:perf_hooks';

const [, , fifo, rate, seconds] = process.argv;
const LINE_BYTES = 100;
// As containerd's shim does: both directions, so that the pipe lives on while its reader restarts.
const fd = openSync(fifo, 'r+');
const begin = performance.now();
let lines = 0;
let longestStallMs = 0;
const turn = () => {
  const elapsed = performance.now() - begin;
  for (const due = (elapsed / 1000) * (Number(rate) / LINE_BYTES); lines < due; lines++) {
    const before = performance.now();
    writeSync(fd, `${`#${lines} `.padEnd(LINE_BYTES - 1, '.')}\n`);
    longestStallMs = Math.max(longestStallMs, performance.now() - before);
  }
  if (elapsed < Number(seconds) * 1000) setTimeout(turn, 1);
  else console.log(JSON.stringify({ lines, longestStallMs }));
};
turn();
