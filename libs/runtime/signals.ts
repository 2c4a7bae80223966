/** Linux signal numbers (signal(7), the numbering that x86 and Arm share). */
import { constants } from 'node:os';
import { WeftError } from '#base/errors.js';

const BY_NAME: Readonly<Record<string, number | undefined>> = constants.signals;
const MAX_SIGNAL = 64;

/** `TERM`, `SIGTERM`, `15` or `SIGRTMIN+3` as a number. @throws BAD_VALUE */
export function signalNumber(name: string): number {
  const upper = name.toUpperCase();
  const realtime = /^(?:SIG)?RT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(upper);
  const number = /^\d{1,2}$/.test(name)
    ? Number(name)
    : realtime
      ? (realtime[1] === 'MIN' ? 34 : MAX_SIGNAL) + Number(`${realtime[2] ?? '+'}${realtime[3] ?? 0}`)
      : BY_NAME[upper.startsWith('SIG') ? upper : `SIG${upper}`];
  if (number === undefined || number < 1 || number > MAX_SIGNAL) {
    throw new WeftError('BAD_VALUE', {
      what: `${JSON.stringify(name.slice(0, 32))} is not a signal`,
      hint: 'Write a name like SIGTERM or a number from 1 to 64.',
    });
  }
  return number;
}
