/**
 * The record of the cluster itself. An etcd without it is either new, or has been emptied: then the record gets a new id,
 * and the nodes, which remember the old one, go on as they are and wait for a person (`ctl node accept`).
 */
import { randomBytes } from 'node:crypto';
import type { Cluster } from '#model/cluster.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import type { LeaderLoop } from '../cluster/leader.js';
import type { Term } from '../cluster/term.js';
import type { ControllerOptions } from '../options.js';
import type { Pki } from '../pki.js';
import { Replan, runMarked, type LoopTools } from './leader-loop.js';

export function clusterLoop(
  tools: LoopTools,
  pki: Pki,
  options: Pick<ControllerOptions, 'pools' | 'subnetPrefix' | 'vxlanPort' | 'dnsTtlSeconds' | 'deadAfterMs'>,
): LeaderLoop {
  const replan = new Replan();
  const tick = async (term: Term): Promise<number | undefined> => {
    const { follower, log, clock } = tools;
    if (!follower.current) return undefined;
    if (follower.model.revisionOf(keys.cluster()) > 0) {
      await pki.markClusterMade();
      return undefined;
    }
    const lost = await pki.clusterWasMade();
    const cluster: Cluster = {
      id: lost ? randomBytes(8).toString('hex') : pki.identity.clusterId,
      createdAt: clock.now(),
      pools: options.pools,
      subnetPrefix: options.subnetPrefix,
      vxlanPort: options.vxlanPort,
      dnsTtlSeconds: options.dnsTtlSeconds,
      deadAfterMs: options.deadAfterMs,
    };
    await pki.markClusterMade();
    const unit = {
      what: 'make the cluster',
      compares: [{ key: keys.cluster(), exists: false }],
      writes: [{ put: keys.cluster(), value: encode(cluster) }],
    };
    const { refused } = await term.apply([unit]);
    const againMs = replan.after(refused);
    if (againMs !== undefined) return againMs;
    if (lost)
      log.error(
        { cluster: cluster.id },
        'etcd had lost the cluster: it has a new id now, and nodes keep what they run until they are accepted',
      );
    else log.info({ cluster: cluster.id }, 'a new cluster');
    return undefined;
  };
  return (term, signal) => runMarked(tools, ['cluster'], { name: 'cluster', tick: () => term.exclusive(() => tick(term)) }, signal);
}
