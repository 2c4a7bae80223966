/**
 * A transaction whose outcome is found out. While etcd chooses a leader, or a member of it stands still, a write may get no
 * answer and be applied all the same, at once or later.
 */
import { WeftError } from '#base/errors.js';
import type { Compare, Store, TxnResult, Write } from '#store/store.js';

const TRIES = 3;

/**
 * Tries again where the outcome is unknown. That is safe where the comparisons hold only once, or the writes may be made twice:
 * a first try that arrives late is then refused, or changes nothing.
 * @param writes the first that puts something tells by its value, which nobody else writes, whether they were made
 * @throws STORE; OUTCOME_UNKNOWN when etcd does not answer for long
 */
export async function txnSurely(store: Pick<Store, 'txn' | 'get'>, compares: Compare[], writes: Write[]): Promise<TxnResult> {
  for (let attempt = 1; ; attempt++) {
    try {
      const result = await store.txn(compares, writes);
      if (result.ok || attempt === 1) return result;
      return { ...result, ok: await wereMade(store, writes) };
    } catch (error) {
      if (!(error instanceof WeftError) || error.code !== 'OUTCOME_UNKNOWN' || attempt === TRIES) throw error;
    }
  }
}

async function wereMade(store: Pick<Store, 'get'>, writes: readonly Write[]): Promise<boolean> {
  const told = writes.find((w) => 'put' in w);
  return told !== undefined && (await store.get(told.put))?.value === told.value;
}
