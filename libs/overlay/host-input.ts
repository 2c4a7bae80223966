/** What a node's kernel state depends on besides the view: the host itself. */
import type { TunnelKeys } from './tunnels.js';

export interface HostInput {
  nodeId: string;
  /** Underlay address: the VTEP. */
  address: string;
  /** Ids of tasks that may be reached at ports of mode `host`; every task of this node with `desired: run` if left out. */
  runningTasks?: ReadonlySet<string>;
  /** Names of the host's own network devices. */
  devices?: ReadonlySet<string>;
  /** Left out where the node cannot encrypt: then encrypted networks carry nothing here. */
  tunnel?: TunnelKeys;
  /** false: the node's firewall is left alone, and nothing is guarded, published or translated. */
  firewall?: boolean;
  /** The host's own network devices that listen to router advertisements. */
  advertised?: readonly string[];
  /** Keys (node-ports.ts) of published ports that somebody else on this node has: not opened. */
  refusedPorts?: ReadonlySet<string>;
  /** How many namespaces are kept ready for tasks to come; none if left out. */
  spares?: number;
}
