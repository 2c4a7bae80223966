/**
 * The contract of the Store port. Every implementation runs all of it: what holds for the real etcd holds for the twin that
 * other tests build on, and the other way round.
 */
import type { Store } from '#store/store.js';
import { elections } from './contract-elections.js';
import { following } from './contract-following.js';
import { sessions } from './contract-sessions.js';
import { transactions } from './contract-transactions.js';
import { TEST_MS } from './given.js';
import type { Harness } from './harness.js';

export function storeContract(name: string, makeHarness: () => Promise<Harness>): void {
  describe(`store contract: ${name}`, () => {
    let harness: Harness;
    let store: Store;
    let root: string;
    let nth = 0;
    beforeAll(async () => {
      harness = await makeHarness();
    }, TEST_MS);
    afterAll(() => harness.stop(), TEST_MS);
    beforeEach(async () => {
      root = `/contract/${++nth}/`;
      store = await harness.open();
    });
    afterEach(() => store.close());

    transactions(() => ({ harness, store, root }));
    following(() => ({ harness, store, root }));
    sessions(() => ({ harness, store, root }));
    elections(() => ({ harness, store, root }));
  });
}
