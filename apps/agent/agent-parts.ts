/** What the agent is put together from: what touches the machine, and what its parts share. */
import type { Clock } from '#base/clock.js';
import type { StopStack } from '#base/dispose.js';
import type { Log } from '#base/log.js';
import type { LogKeeperVerbs } from '#logs/keeper-client.js';
import type { Run } from '#linux/runner.js';
import type { SeenTunnel } from '#linux/wireguard.js';
import type { ListeningPort } from '#model/node.js';
import type { Runtime } from '#runtime/runtime.js';
import type { Believer } from './believer.js';
import type { Callers } from './callers.js';
import type { Contact } from './contact.js';
import type { DesiredStore } from './desired-store.js';
import type { Membership } from './join.js';
import type { Layout } from './layout.js';
import type { Ledger } from './ledger.js';
import type { NameServerLink } from './name-server-link.js';
import type { LogTaps } from './log-keeper/ensure.js';
import type { FactsLoop, HostPart } from './loops/facts.js';
import type { Hub } from './loops/hub.js';
import type { NamesLoop } from './loops/names.js';
import type { KernelPort, NetworkLoop } from './loops/network.js';
import type { TasksLoop } from './loops/tasks.js';
import type { TunnelLoop } from './loops/tunnels.js';
import type { AgentOptions } from './options.js';
import type { PortKeeper } from './port-keeper.js';
import type { PortProxyLink } from './port-proxy/link.js';
import type { RepairTimerOptions } from './repair-timer.js';
import type { Resolvers } from './resolvers.js';
import type { StatusBoard } from './status-board.js';
import type { TakenOut } from './taken-out.js';
import type { NodeTunnelKeys } from './tunnel-keys.js';

export interface AgentParts {
  membership: Membership;
  /** Connects to the container runtime; called again until it works. */
  openRuntime: () => Promise<Runtime>;
  kernel: KernelPort;
  /** Runs commands, for probes; without it there are none. */
  run?: Run;
  /** News of what others do to the kernel. */
  kernelEvents?: RepairTimerOptions['events'];
  /** `onUp` is called each time the name server is up. */
  openNameServer: (onUp: () => void) => Promise<NameServerLink>;
  /** Left out where localhost is not to be served. `onUp` is called each time the port proxy is up. */
  openPortProxy?: (onUp: () => void) => Promise<PortProxyLink>;
  /** libs/linux `listeningPorts`: who has a port that cannot be held. */
  listening?: () => Promise<ListeningPort[]>;
  openLogKeeper: () => Promise<Pick<LogKeeperVerbs, 'open' | 'close' | 'flush'> & LogTaps & { stop(): Promise<void> }>;
  readHost: () => Promise<HostPart>;
  /** Left out where nothing is to be encrypted. */
  tunnelKeys?: NodeTunnelKeys;
  /** libs/linux `keepDockerUser`. */
  keepDockerUser?: () => Promise<string[]>;
  seeTunnel?: (dev: string) => Promise<SeenTunnel | undefined>;
  clock: Clock;
  log: Log;
}

/** What all parts share, once it is there. */
export interface AgentBase {
  options: AgentOptions;
  layout: Layout;
  parts: AgentParts;
  stops: StopStack;
  nodeId: string;
  store: DesiredStore;
  ledger: Ledger;
  board: StatusBoard;
  believer: Believer;
  callers: Callers;
  takenOut: TakenOut;
  contact: Contact;
  /** Parts that come up later than those that speak to them. */
  late: {
    network?: NetworkLoop;
    names?: Pick<NamesLoop<unknown>, 'toldRevision'>;
    resolvers?: Resolvers;
    ports?: PortKeeper;
    tunnels?: TunnelLoop;
    tasks?: TasksLoop;
    hub?: Hub;
    facts?: FactsLoop;
  };
}
