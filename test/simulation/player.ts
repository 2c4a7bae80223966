/** Plays histories in a thread of its own, outside of jest; see outside.ts. */
import { parentPort } from 'node:worker_threads';
import { FAULTS } from './faults.js';
import { play, type Kind, type Outcome } from './history.js';

/** What is asked for: histories of a kind, one after another, up to the first in which something is wrong. */
export interface Order {
  kind: Kind;
  seeds: readonly number[];
  /** Name of a planted fault. */
  fault?: string;
  verbose?: boolean;
}

/** The first history in which something was wrong, or else the last. */
export interface Answer {
  seed: number;
  outcome: Outcome;
}

async function playAll({ kind, seeds, fault, verbose }: Order): Promise<Answer> {
  const plant = fault === undefined ? undefined : FAULTS[fault];
  if (fault !== undefined && !plant) throw new Error(`no fault is called ${fault}`);
  let answer: Answer | undefined;
  for (const seed of seeds) {
    answer = { seed, outcome: await play(seed, kind, { verbose, fault: plant?.() }) };
    if (answer.outcome.violation !== undefined) break;
  }
  if (!answer) throw new Error('no history was asked for');
  return answer;
}

parentPort?.on('message', (order: Order) => {
  playAll(order).then(
    (answer) => parentPort?.postMessage({ answer }),
    (error: unknown) => parentPort?.postMessage({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
});
