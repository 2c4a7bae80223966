/**
 * Random histories of a whole cluster in virtual time: `SIM_SEED=123 npm run -s jest -- --selectProjects simulation` plays one
 * of them and prints it step by step; `SIM_RUNS` says how many are played.
 */
import { FAULTS } from './faults.js';
import { CONTESTED, EVERYTHING, OUT_OF_SIGHT, play, type Kind, type Outcome } from './history.js';

const RUNS = Number(process.env['SIM_RUNS'] ?? 300);
const ONE = process.env['SIM_SEED'];
/** Histories of the two kinds that are hard on one thing. */
const SPECIAL_RUNS = Math.ceil(RUNS / 5);
/** Histories in which a planted fault has to show. */
const PLANTED_RUNS = 300;
const MINUTES = 60_000;

/** The history of a seed as a person reads it; the same seed takes the same steps. */
async function printed(seed: number, kind: Kind): Promise<string> {
  const { lines } = await play(seed, kind, { verbose: true });
  return [`seed ${seed}:`, ...lines].join('\n');
}

async function firstBad(
  runs: number,
  kind: Kind,
  options: Parameters<typeof play>[2] = {},
): Promise<(Outcome & { seed: number }) | undefined> {
  for (let seed = 1; seed <= runs; seed++) {
    const outcome = await play(seed, kind, options);
    if (outcome.violation !== undefined) return { ...outcome, seed };
  }
  return undefined;
}

async function expectGood(runs: number, kind: Kind): Promise<void> {
  const bad = await firstBad(runs, kind);
  if (bad) throw new Error(`${bad.violation}\nPlay it again with SIM_SEED=${bad.seed}\n${await printed(bad.seed, kind)}`);
}

if (ONE !== undefined) {
  it(
    `the history of seed ${ONE}`,
    async () => {
      const outcome = await play(Number(ONE), EVERYTHING, { verbose: true });
      process.stdout.write(`${outcome.lines.join('\n')}\n`);
      expect(outcome.violation).toBeUndefined();
    },
    MINUTES,
  );
} else {
  describe('a simulated cluster', () => {
    it(`keeps what it promises through ${RUNS} random histories`, () => expectGood(RUNS, EVERYTHING), 10 * MINUTES);

    it('takes the same steps for the same seed', async () => {
      const [a, b] = [await play(7, EVERYTHING, { verbose: true }), await play(7, EVERYTHING, { verbose: true })];
      expect(a.steps).toBeGreaterThan(100);
      expect(b).toEqual(a);
    });

    it(
      'keeps it where who leads is contested, and where nodes come and go from sight',
      async () => {
        await expectGood(SPECIAL_RUNS, CONTESTED);
        await expectGood(SPECIAL_RUNS, OUT_OF_SIGHT);
      },
      10 * MINUTES,
    );

    it.each<[string, Kind]>([
      ['no fence', CONTESTED],
      ['no fence, no slots', CONTESTED],
      ['no fence, no addresses', CONTESTED],
      ['no orphans', EVERYTHING],
      ['no look at sessions', OUT_OF_SIGHT],
    ])(
      'finds a planted fault: %s',
      async (name, kind) => {
        const bad = await firstBad(PLANTED_RUNS, kind, { tamper: FAULTS[name] });
        expect(bad?.violation).toBeDefined();
      },
      5 * MINUTES,
    );
  });
}
