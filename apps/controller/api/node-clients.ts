/** Connections to the agents' own listeners: images, logs and exec go straight there, not through the agents' stream. */
import { WeftError } from '#base/errors.js';
import type { Node } from '#model/node.js';
import { AGENT_PORT } from '#model/ports.js';
import type { Task } from '#model/task.js';
import type { ClusterState } from '#planner/cluster-state.js';
import { candidates } from '#planner/schedule.js';
import { connect } from '#rpc/client.js';
import { NodeClient } from '#rpc/gen/weft/v1/api.js';
import type { Identity } from '#trust/identity.js';

export interface Reach {
  node: Node;
  client: NodeClient;
  /** For error messages. */
  target: string;
}

export class NodeClients {
  readonly #identity: Identity;
  readonly #clients = new Map<string, NodeClient>();

  constructor(identity: Identity) {
    this.#identity = identity;
  }

  reach(node: Node): Reach {
    const target = `${node.address}:${AGENT_PORT}`;
    let client = this.#clients.get(target);
    if (!client) this.#clients.set(target, (client = connect(NodeClient, target, this.#identity, 'node')));
    return { node, client, target: `node ${node.name} (${target})` };
  }

  /** The node that a task is on. @throws NOT_FOUND */
  ofTask(state: ClusterState, task: Task): Reach {
    const node = state.nodes.get(task.nodeId);
    if (!node) throw new WeftError('NOT_FOUND', `the node of task ${task.name} is gone`);
    return this.reach(node);
  }

  /** @throws NO_NODES */
  allReady(state: ClusterState): Reach[] {
    const { ready, explanation } = candidates(state);
    if (ready.length === 0) throw new WeftError('NO_NODES', { what: 'no node can be asked', why: explanation });
    return ready.map((node) => this.reach(node));
  }

  stop(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }
}
