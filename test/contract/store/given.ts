/** What every case of the contract starts from. */
import type { WeftError } from '#base/errors.js';
import type { Store } from '#store/store.js';
import type { Harness } from './harness.js';

/** The server, one client, and a prefix that no other case uses. */
export type Given = () => { harness: Harness; store: Store; root: string };

export const TEST_MS = 60_000;
export const put = (store: Store, key: string, value: string) => store.txn([], [{ put: key, value }]);
export const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'no error',
    (error: WeftError) => error.code,
  );
