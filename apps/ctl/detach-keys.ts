/** The keys that let go of what a terminal is attached to, as Docker writes them: `ctrl-p,ctrl-q`. Pure. */
import { WeftError } from '#base/errors.js';

export const DETACH_KEYS = 'ctrl-p,ctrl-q';

const CONTROL: Readonly<Record<string, number>> = { '@': 0, '[': 27, '\\': 28, ']': 29, '^': 30, _: 31 };

/** @throws USAGE */
export function readDetachKeys(text: string): number[] {
  return text.split(',').map((key) => {
    if (key.length === 1) return key.charCodeAt(0);
    const [, letter = ''] = /^ctrl-([a-zA-Z@[\\\]^_])$/.exec(key) ?? [];
    if (letter === '')
      throw new WeftError('USAGE', {
        what: `${JSON.stringify(key)} is no key to detach with`,
        hint: 'Write single letters and ctrl-a … ctrl-z, parted by commas.',
      });
    return CONTROL[letter] ?? letter.toLowerCase().charCodeAt(0) - 96;
  });
}

/**
 * Passes input on until the keys come one after another: then undefined. What might be their beginning waits for what follows.
 * @param keys bytes; none: everything is passed on
 */
export function detachFilter(keys: readonly number[]): (chunk: Buffer) => Buffer | undefined {
  let matched = 0;
  return (chunk) => {
    const out: number[] = [];
    for (const byte of chunk) {
      if (keys.length > 0 && byte === keys[matched]) {
        matched++;
        if (matched === keys.length) return undefined;
        continue;
      }
      out.push(...keys.slice(0, matched));
      matched = keys.length > 0 && byte === keys[0] ? 1 : 0;
      if (matched === 0) out.push(byte);
    }
    return Buffer.from(out);
  };
}
