import { WeftError } from '#base/errors.js';

/** The one error of decoding: these bytes are no DNS message. */
export class FormatError extends WeftError {
  constructor(why: string) {
    super('BAD_VALUE', { what: 'not a DNS message', why });
    this.name = 'FormatError';
  }
}
