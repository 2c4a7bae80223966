/**
 * The cases of a spec: many random histories of one kind, in batches. `SIM_RUNS` says how many histories all kinds have
 * together, `SIM_FROM` at which seed they begin; `SIM_SEED=123` plays one of each kind that is asked for, and prints it.
 */
import type { Kind } from './history.js';
import { playOutside, stopOutside } from './outside.js';
import type { Answer } from './player.js';

/** Histories of all kinds together; see the shares of the specs. */
const RUNS = Number(process.env['SIM_RUNS'] ?? 300);
const FROM = Number(process.env['SIM_FROM'] ?? 1);
const ONE = process.env['SIM_SEED'];
/** A case has so many. */
const BATCH = 250;
/** Histories in which a planted fault has to show. */
const PLANTED_RUNS = 300;
const MINUTES = 60_000;

/** The history of a seed as a person reads it; the same seed takes the same steps. */
async function printed(seed: number, kind: Kind): Promise<string> {
  const { outcome } = await playOutside({ kind, seeds: [seed], verbose: true });
  return [`seed ${seed}:`, ...outcome.lines].join('\n');
}

async function firstBad(seeds: readonly number[], kind: Kind, fault?: string): Promise<Answer | undefined> {
  const answer = await playOutside({ kind, seeds, fault });
  return answer.outcome.violation === undefined ? undefined : answer;
}

async function expectGood(seeds: readonly number[], kind: Kind): Promise<void> {
  const bad = await firstBad(seeds, kind);
  if (!bad) return;
  const { seed, outcome } = bad;
  throw new Error(`${outcome.violation}\nPlay it again with SIM_SEED=${seed}, in this spec\n${await printed(seed, kind)}`);
}

const seedsBetween = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

export interface Wanted {
  /** Part of all histories that are of this kind. */
  share: number;
  /** Seeds that once found something. */
  found?: readonly number[];
}

/** The cases of a kind. */
export function histories(kind: Kind, { share, found = [] }: Wanted): void {
  afterAll(stopOutside);
  if (ONE !== undefined) return one(Number(ONE), kind);
  const runs = Math.ceil(RUNS * share);
  const batches: [from: number, to: number][] = [];
  for (let from = FROM; from < FROM + runs; from += BATCH) batches.push([from, Math.min(from + BATCH, FROM + runs) - 1]);
  describe(`a simulated cluster keeps what it promises: ${kind.name}`, () => {
    it.each(batches)('in the histories of seeds %i to %i', (from, to) => expectGood(seedsBetween(from, to), kind), 10 * MINUTES);
    if (found.length > 0) it('in those that once found something', () => expectGood(found, kind), 10 * MINUTES);
  });
}

function one(seed: number, kind: Kind): void {
  it(
    `the history of seed ${seed}: ${kind.name}`,
    async () => {
      const { outcome } = await playOutside({ kind, seeds: [seed], verbose: true });
      process.stdout.write(`${outcome.lines.join('\n')}\n`);
      expect(outcome.violation).toBeUndefined();
    },
    MINUTES,
  );
}

/** What the histories of a kind find of a planted fault, soon; undefined: nothing. */
export async function findingOf(kind: Kind, fault: string): Promise<string | undefined> {
  return (await firstBad(seedsBetween(1, PLANTED_RUNS), kind, fault))?.outcome.violation;
}
