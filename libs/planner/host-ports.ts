/** Ports of mode `host`: a node can give each of them to one task only. */
import type { Port, Service } from '#model/stack.js';
import type { Node } from '#model/node.js';
import type { ClusterState } from './cluster-state.js';
import { samePort } from './port-overlap.js';
import type { HeldPorts } from './tallies.js';

const ofHostMode = (ports: readonly Port[]): Port[] => ports.filter((p) => p.mode === 'host');

/** Who has which host ports: those of the state, and what a plan adds. */
export class HostPorts {
  readonly #state: ClusterState;
  readonly #added = new Map<string, HeldPorts[]>();
  /** Node id → tasks that the plan takes away from it. */
  readonly #gone = new Map<string, Set<string>>();

  constructor(state: ClusterState) {
    this.#state = state;
  }

  add(nodeId: string, taskId: string, ports: readonly Port[]): void {
    const held = ofHostMode(ports);
    if (held.length > 0) this.#added.set(nodeId, [...(this.#added.get(nodeId) ?? []), { taskId, ports: held }]);
  }

  /** The task leaves the node, whether it was there before or came by this plan. */
  remove(nodeId: string, taskId: string): void {
    this.#gone.set(nodeId, (this.#gone.get(nodeId) ?? new Set()).add(taskId));
    const added = this.#added.get(nodeId);
    if (added)
      this.#added.set(
        nodeId,
        added.filter((h) => h.taskId !== taskId),
      );
  }

  /** Nodes where nobody but the task that is replaced has a host port of `service`. */
  allow(nodes: readonly Node[], service: Service, replaces: string | undefined): readonly Node[] {
    return nodes.filter((n) => this.heldOn(n.id, service, replaces) === undefined);
  }

  /** A host port of `service` that another task than the one that is replaced has on the node; undefined: all are free. */
  heldOn(nodeId: string, service: Service, replaces: string | undefined): Port | undefined {
    const wanted = ofHostMode(service.ports);
    if (wanted.length === 0) return undefined;
    const gone = this.#gone.get(nodeId);
    const stored = [...this.#state.tallies.hostPortsOn(nodeId)].filter((h) => !gone?.has(h.taskId));
    const others = [...stored, ...(this.#added.get(nodeId) ?? [])].filter((h) => h.taskId !== replaces);
    return wanted.find((w) => others.some((h) => h.ports.some((p) => samePort(p, w))));
  }
}
