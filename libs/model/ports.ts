/** The ports Weft itself listens on, by default. */
/** gRPC of the controller: API and agents' stream (mTLS). */
export const CONTROLLER_PORT = 7700;
/** Joining with a token (TLS; the client has no certificate yet). */
export const JOIN_PORT = 7701;
/** gRPC of the agent: images, logs, exec (mTLS, controllers only). */
export const AGENT_PORT = 7702;
/** HTTP health of the controller, on loopback. */
export const HEALTH_PORT = 7703;
/** etcd of the controllers: clients and peers (mTLS, controllers only). */
export const ETCD_CLIENT_PORT = 7704;
export const ETCD_PEER_PORT = 7705;
/** WireGuard between nodes, under the VXLAN of encrypted networks (UDP). */
export const WIREGUARD_PORT = 7706;
/** The DNS responder on each network's gateway; tasks reach it as 127.0.0.11:53. */
export const DNS_PORT = 7753;
/** IANA's VXLAN port, RFC 7348 §8. */
export const VXLAN_PORT = 4789;

/** Feature of a node whose kernel has SCTP (RFC 9260), or a module for it. */
export const SCTP_FEATURE = 'sctp';
