/** The simulation itself: it can be replayed, and finds what is planted. */
import { findingOf } from './batches.js';
import { DRAINED, EVERYTHING, LATE, OUT_OF_SIGHT, play, RESTARTED, type Kind } from './history.js';
import { playOutside, stopOutside } from './outside.js';

const MINUTES = 60_000;

afterAll(stopOutside);

describe('the simulation', () => {
  it('takes the same steps for the same seed', async () => {
    const [a, b] = [await play(7, EVERYTHING, { verbose: true }), await play(7, EVERYTHING, { verbose: true })];
    expect(a.steps).toBeGreaterThan(100);
    expect(b).toEqual(a);
    const { outcome } = await playOutside({ kind: EVERYTHING, seeds: [7], verbose: true });
    expect(outcome).toEqual(a);
  });

  it.each<[string, Kind, RegExp]>([
    ['no fence', LATE, /wrote .* as leader; the leader is/],
    ['no fence, no slots', LATE, /wrote .* as leader; the leader is/],
    ['no fence, no addresses', LATE, /wrote .* as leader; the leader is/],
    ['no orphans', EVERYTHING, /./],
    ['no look at sessions', OUT_OF_SIGHT, /./],
    ['no look at nodes', { ...DRAINED, slowMs: 500 }, /was made on n\d, which is ready and (drain|pause)/],
    ['a rebalance moves all at once', { ...DRAINED, levelled: 1 }, /a rebalance took .* at a time, and \d may be away/],
    ['restarts are not on record', RESTARTED, /was to be started again, and was not/],
  ])('finds a planted fault: %s', async (name, kind, finding) => expect(await findingOf(kind, name)).toMatch(finding), 5 * MINUTES);
});
