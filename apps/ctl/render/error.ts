/** An error as a person reads it: what, why, what to do. */
import pc from 'picocolors';
import type { WeftError } from '#base/errors.js';
import { printable } from './printable.js';

/** Three lines; a reason of several lines (one for each fault of a compose file) stands indented below the first. */
export function errorText(error: WeftError, colour: boolean): string {
  const c = pc.createColors(colour);
  const lines = [`${c.red(c.bold('error:'))} ${printable(error.what)}`];
  if (error.why) {
    const [first = '', ...rest] = error.why.split('\n').map(printable);
    lines.push(`${c.bold('why:')}   ${first}`, ...rest.map((line) => `       ${line}`));
  }
  lines.push(`${c.bold('hint:')}  ${printable(error.hint)}`);
  return `${lines.join('\n')}\n`;
}
