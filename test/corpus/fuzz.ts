/**
 * Mutated files of the corpus, in memory: whatever the text, a verdict. No crash, no hang, no error without a place, and what is
 * printed reads as the same model. FUZZ_SEED and FUZZ_FILES choose others, or more (CI: 100,000).
 */
import { fileURLToPath } from 'node:url';
import { readFolder } from './folder.js';
import { faultOfRoundTrip, judge, withText } from './judge.js';
import { Mutator, seeded } from './mutate.js';

/** Spec files that share the runs, so that each worker of the tests has some. */
const PARTS = 4;
const RUNS = Math.ceil(Number(process.env['FUZZ_FILES'] ?? 8_000) / PARTS);
const SEED = Number(process.env['FUZZ_SEED'] ?? 20_261_121);
/** Reading once more what was printed takes as long again: one in so many is. */
const ROUND_TRIP_EVERY = 10;
const TIMEOUT_MS = 900_000;

/** The test of one part, with a seed of its own. @param part from 0; a failing seed is replayed by FUZZ_SEED with part 0 */
export function fuzzPart(part: number): void {
  const seed = SEED + part;
  it(`${RUNS} mutated files, seed ${seed}`, () => fuzz(seed), TIMEOUT_MS);
}

function fuzz(seed: number): void {
  // Most runs end in an error or two: nobody looks at their stacks.
  Error.stackTraceLimit = 0;
  const { cases, texts } = readFolder(fileURLToPath(new URL('cases', import.meta.url)));
  const valid = cases.filter((one) => !one.refused);
  const mutator = new Mutator(seeded(seed), [...texts.values()]);
  const count = { parsed: 0, refused: 0 };
  for (let run = 0; run < RUNS; run++) {
    const one = mutator.pick(mutator.chance(0.8) ? valid : cases);
    const path = mutator.pick(one.files);
    const text = mutator.mutate(texts.get(path) ?? '');
    const mutated = withText(texts, path, text);
    const verdict = judge(one, mutated);
    const canonical = verdict.is === 'wrong' ? undefined : verdict.canonical;
    const again = run % ROUND_TRIP_EVERY === 0 && canonical !== undefined ? faultOfRoundTrip(one, mutated, canonical) : undefined;
    const fault = verdict.is === 'wrong' ? verdict.why : again;
    if (fault !== undefined) throw new Error(`run ${run} of seed ${seed}, ${path}: ${fault}\n${JSON.stringify(text)}`);
    if (verdict.is !== 'wrong') count[verdict.is]++;
  }
  // Mutations that break every file, or none, would test one half only.
  expect(Math.min(count.parsed, count.refused)).toBeGreaterThan(RUNS / 20);
}
