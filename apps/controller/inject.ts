/** The names under which Nest keeps what has a lifetime. */
export const OPTIONS = Symbol('ControllerOptions');
export const LOG = Symbol('Log');
export const CLOCK = Symbol('Clock');
export const PKI = Symbol('Pki');
export const STORE = Symbol('Store');
export const FOLLOWER = Symbol('ClusterFollower');
export const NODE_CLIENTS = Symbol('NodeClients');
export const NODE_SESSIONS = Symbol('NodeSessions');
export const AGENT_HUB = Symbol('AgentHub');
export const LEADER = Symbol('Leader');
export const RECORDER = Symbol('SelfRecorder');
export const SERVERS = Symbol('Servers');
export const CONTROLLER_CLIENTS = Symbol('ControllerClients');
export const MEMBERSHIP = Symbol('EtcdMembership');
/** What to do when this controller was removed from the cluster. */
export const ON_REMOVED = Symbol('onRemoved');
