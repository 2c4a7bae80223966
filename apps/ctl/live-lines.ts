/**
 * Progress of several things at once, on standard error: on a terminal a block of lines that is redrawn, one for each
 * thing; elsewhere one line for each change.
 */
import { printable } from './render/printable.js';
import type { Output } from './shell.js';

export interface LiveLines {
  /**
   * Sets the line of one thing. `plain`: what counts as a change where nothing can be redrawn, '' for nothing (a count of
   * bytes, say); the text itself if left out.
   */
  set(key: string, text: string, plain?: string): void;
  /** Forgets a thing's line. */
  drop(key: string): void;
  /** Leaves what is drawn where it is, and begins anew below. */
  finish(): void;
}

const REDRAW_MS = 80;
const CLEAR_BELOW = '\u001b[J';
const up = (lines: number): string => (lines > 0 ? `\u001b[${lines}A\r` : '\r');

export const liveLines = (output: Output): LiveLines => (output.isTTY ? redrawn(output) : appended(output));

function appended(output: Output): LiveLines {
  const last = new Map<string, string>();
  return {
    set(key, text, plain = text) {
      if (plain === '' || last.get(key) === plain) return;
      last.set(key, plain);
      output.write(`${printable(plain)}\n`);
    },
    drop: (key) => void last.delete(key),
    finish: () => last.clear(),
  };
}

function redrawn(output: Output): LiveLines {
  const lines = new Map<string, string>();
  let drawn = 0;
  let timer: NodeJS.Timeout | undefined;
  const draw = (): void => {
    timer = undefined;
    const width = Math.max(20, (output.columns ?? 80) - 1);
    // A block higher than the screen cannot be redrawn: its end is the part that moves.
    const shown = [...lines.values()].slice(-Math.max(1, (output.rows ?? 24) - 1));
    output.write(`${up(drawn)}${CLEAR_BELOW}${shown.map((line) => `${printable(line).slice(0, width)}\n`).join('')}`);
    drawn = shown.length;
  };
  const schedule = (): void => {
    timer ??= setTimeout(draw, REDRAW_MS);
  };
  return {
    set(key, text) {
      if (lines.get(key) === text) return;
      lines.set(key, text);
      schedule();
    },
    drop(key) {
      if (lines.delete(key)) schedule();
    },
    finish() {
      if (timer) {
        clearTimeout(timer);
        draw();
      }
      lines.clear();
      drawn = 0;
    },
  };
}
