/**
 * Encrypted networks: one WireGuard device a node, and the VXLAN of those networks inside it. What is not in the tunnel
 * goes nowhere: the VXLAN device and its rows are bound to the WireGuard device, and nft drops, on either way, what
 * carries the number of an encrypted network outside of it.
 */
import type { EndpointView, Member, NetworkView } from '#model/node-view.js';
import { tunnelAddress } from '#model/tunnel.js';
import type { ViewByKind } from '#model/view-state.js';
import type { Address, Link, Peer, Route } from './kernel-state.js';
import { wireguardName } from './names.js';

/** What this node holds to encrypt with. */
export interface TunnelKeys {
  publicKey: string;
  /** Node id → name of the pre-shared key with that node (see `Peer.presharedKey`). */
  presharedKeys: Readonly<Record<string, string>>;
}

/** VXLAN over IPv4, RFC 7348 §5: what the tunnel must carry on top of a network's frames' content, in bytes. */
const VXLAN_OVERHEAD_BYTES = 50;
/** A session is there before it is needed, and one that broke is made anew. */
const KEEPALIVE_S = 25;

export const isEncrypted = (n: NetworkView): boolean => n.driver === 'overlay' && n.options?.encrypted === true;

/** The node's end of the tunnels. */
export interface Tunnel {
  dev: string;
  /** This node's address inside. */
  local: string;
  links: [string, Link][];
  addresses: Address[];
  routes: Route[];
  peers: Peer[];
  /** Node id → its address inside, for every node that a tunnel leads to. */
  ends: ReadonlyMap<string, string>;
}

/** Why this node carries no encrypted network; undefined if it does, or if there is none. */
export function tunnelTrouble(view: ViewByKind, nodeId: string, keys: TunnelKeys | undefined): string | undefined {
  if (!view.networks.some(isEncrypted)) return undefined;
  if (!keys) return 'this node cannot encrypt: it has neither WireGuard in its kernel nor wireguard-go, or leaves firewall rules alone';
  return ownIndex(view, nodeId) === undefined ? 'this node has no number in the cluster yet' : undefined;
}

/** undefined: there is no encrypted network here, or none can be had. */
export function tunnelOf(view: ViewByKind, nodeId: string, keys: TunnelKeys | undefined): Tunnel | undefined {
  const networks = view.networks.filter(isEncrypted);
  const index = ownIndex(view, nodeId);
  if (networks.length === 0 || !keys || index === undefined) return undefined;
  const dev = wireguardName(nodeId);
  const local = tunnelAddress(index);
  // Who cannot be agreed with on a key is out of reach: there is no tunnel with less.
  const members = view.members.filter((m) => canTunnel(m) && m.id !== nodeId && keys.presharedKeys[m.id] !== undefined);
  const met = nodesMet(networks, view.endpoints);
  const port = view.settings.wireguardPort;
  const mtu = Math.max(...networks.map((n) => n.mtu)) + VXLAN_OVERHEAD_BYTES;
  return {
    dev,
    local,
    links: [[dev, { kind: 'wireguard', up: true, mtu, port, publicKey: keys.publicKey }]],
    addresses: [{ dev, address: `${local}/32` }],
    routes: members.map((m): Route => ({ table: 'main', destination: `${endOf(m)}/32`, dev, source: local })),
    peers: members.map((m) => ({
      dev,
      publicKey: m.wireguard?.publicKey ?? '',
      endpoint: `${m.address}:${port}`,
      allowed: `${endOf(m)}/32`,
      presharedKey: keys.presharedKeys[m.id] ?? '',
      keepaliveS: met.has(m.id) ? KEEPALIVE_S : 0,
    })),
    ends: new Map(members.map((m) => [m.id, endOf(m)])),
  };
}

const canTunnel = (m: Member): boolean => m.kind === 'node' && m.wireguard !== undefined && m.index !== undefined;
const endOf = (m: Member): string => tunnelAddress(m.index ?? 0);
const ownIndex = (view: ViewByKind, nodeId: string): number | undefined =>
  view.members.find((m) => m.kind === 'node' && m.id === nodeId)?.index;

/** Nodes with something on one of `networks`. */
function nodesMet(networks: readonly NetworkView[], endpoints: readonly EndpointView[]): Set<string> {
  const ids = new Set(networks.map((n) => n.id));
  return new Set(endpoints.filter((e) => ids.has(e.networkId)).map((e) => e.nodeId));
}
