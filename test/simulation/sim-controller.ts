/** A controller put together as in apps/controller/app.module.ts: the real follower, election, loops and agents' streams. */
import type { Log } from '#base/log.js';
import type { Store } from '#store/store.js';
import { AgentHub } from '../../apps/controller/api/agent-hub.js';
import { NodeSessions } from '../../apps/controller/api/node-sessions.js';
import { ClusterFollower } from '../../apps/controller/cluster/follower.js';
import { Leader } from '../../apps/controller/cluster/leader.js';
import { cleanupLoop } from '../../apps/controller/loops/cleanup-loop.js';
import { nodesLoop } from '../../apps/controller/loops/nodes-loop.js';
import { servicesLoop } from '../../apps/controller/loops/services-loop.js';
import type { SimProcess } from './process.js';

export interface SimController {
  id: string;
  process: SimProcess;
  follower: ClusterFollower;
  store: Store;
  hub: AgentHub;
}

/** The record of the cluster is made by the simulation: making it needs a CA. */
export function startController(process: SimProcess, id: string, store: Store, newId: () => string, log: Log): SimController {
  const clock = process;
  const follower = new ClusterFollower(store, log, clock);
  const sessions = new NodeSessions(store, follower, id, log, clock);
  const hub = new AgentHub({ store, follower, sessions, controllerId: id, log, clock });
  const tools = { follower, log, clock, newId };
  const leader = new Leader({
    store,
    follower,
    log,
    clock,
    controllerId: id,
    loops: [nodesLoop(tools), servicesLoop(tools), cleanupLoop(tools)],
  });
  follower.start();
  void follower
    .until(() => follower.current, 30_000, 'etcd')
    .then(
      () => {
        sessions.start();
        leader.start();
      },
      () => process.kill(),
    );
  return { id, process, follower, store, hub };
}
