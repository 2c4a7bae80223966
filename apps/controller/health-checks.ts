/** What readiness looks at. */
import type { Check } from '#nest-kit/health.js';
import type { Store } from '#store/store.js';
import type { ClusterFollower } from './cluster/follower.js';

const MIB = 1024 * 1024;

export function healthChecks(store: Store, follower: ClusterFollower): Record<string, () => Promise<Check> | Check> {
  return {
    etcd: async () => {
      const { ok, detail, dbSizeBytes, alarms = [] } = await store.health();
      const size = dbSizeBytes === undefined ? '' : `, database ${(dbSizeBytes / MIB).toFixed(1)} MiB`;
      // An alarm (NOSPACE, CORRUPT) means that etcd refuses writes, or should.
      return { ok: ok && alarms.length === 0, detail: `${detail}${size}${alarms.length > 0 ? `, alarms: ${alarms.join(', ')}` : ''}` };
    },
    feed: () => ({ ok: follower.current, detail: follower.current ? `revision ${follower.model.revision}` : follower.staleReason }),
    leader: () => ({ ok: follower.model.leader !== undefined, detail: follower.model.leader ?? 'no controller leads' }),
    values: () => ({
      ok: true,
      detail:
        follower.model.corrupt.size === 0 ? 'all readable' : `unreadable: ${[...follower.model.corrupt.keys()].slice(0, 5).join(', ')}`,
    }),
  };
}
