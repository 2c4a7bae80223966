import { WeftError, type ErrorCode } from './errors.js';
import type { Log } from './log.js';
import { ManualClock } from './manual-clock.js';
import { isPassing, untilItWorks } from './retry.js';

const said: string[] = [];
const log = { warn: (_fields: object, message: string) => said.push(message) } as unknown as Log;

describe('untilItWorks', () => {
  it('tries what may pass until it works, later and later, and says so once', async () => {
    const clock = new ManualClock();
    const begun = clock.monotonic();
    let tries = 0;
    const done = untilItWorks(
      'joining',
      () => (++tries < 5 ? Promise.reject(new WeftError('UNAVAILABLE', 'not yet')) : Promise.resolve('in')),
      { clock, log, signal: new AbortController().signal },
      (error) => !isPassing(error),
    );
    for (let ms = 0; tries < 5 && ms < 60_000; ms += 10) await clock.advance(10);
    expect(await done).toBe('in');
    expect(clock.monotonic() - begun).toBeGreaterThan(500);
    expect(said).toEqual(['joining does not work yet; trying on']);
  });

  it('throws on what will not pass, at once', async () => {
    let tries = 0;
    const failing = () => {
      tries++;
      return Promise.reject(new WeftError('TOKEN_INVALID', 'no'));
    };
    const context = { clock: new ManualClock(), log, signal: new AbortController().signal };
    await expect(untilItWorks('joining', failing, context, (error) => !isPassing(error))).rejects.toMatchObject({ code: 'TOKEN_INVALID' });
    expect(tries).toBe(1);
  });

  it.each<[ErrorCode, boolean]>([
    ['UNAVAILABLE', true],
    ['TIMEOUT', true],
    ['NOT_LEADER', true],
    ['CONFLICT', false],
    ['UNAUTHENTICATED', false],
    ['FORBIDDEN', false],
  ])('%s may pass: %s', (code, passes) => {
    expect(isPassing(new WeftError(code, 'x'))).toBe(passes);
    expect(isPassing(new Error('x'))).toBe(false);
  });
});
