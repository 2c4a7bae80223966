/** The MTU of a network: one value for all its devices and both families. */
import { WeftError } from '#base/errors.js';
import type { Network } from '#model/network.js';
import { WIREGUARD_OVERHEAD_BYTES } from '#model/tunnel.js';
import type { ClusterState } from './cluster-state.js';

/** VXLAN over IPv4: 20 IP + 8 UDP + 8 VXLAN + 14 Ethernet (RFC 7348 §5), in bytes. */
const VXLAN_OVERHEAD_BYTES = 50;
const DEFAULT_MTU_BYTES = 1500;
/** RFC 791: every host takes datagrams of this size. */
const MIN_MTU_BYTES = 576;
/** RFC 8200 §5: every link that carries IPv6 has this much. */
const MIN_MTU6_BYTES = 1280;

/** What every overlay can have: the smallest underlay's, less the encapsulation. */
export function overlayMtu(state: ClusterState): number {
  const known = mtus.get(state);
  if (known?.revision === state.revision && known.storeId === state.storeId) return known.bytes;
  const bytes = smallestMtu(state);
  mtus.set(state, { storeId: state.storeId, revision: state.revision, bytes });
  return bytes;
}

/** Every network of every node's view asks: one look at all nodes serves them all until something changes. */
const mtus = new WeakMap<ClusterState, { storeId: string; revision: number; bytes: number }>();

function smallestMtu(state: ClusterState): number {
  const underlay = [...state.nodes.keys()].map((id) => state.facts.get(id)?.underlayMtu ?? DEFAULT_MTU_BYTES);
  return Math.max(
    MIN_MTU_BYTES,
    Math.min(DEFAULT_MTU_BYTES * 100, ...(underlay.length > 0 ? underlay : [DEFAULT_MTU_BYTES])) - VXLAN_OVERHEAD_BYTES,
  );
}

/** What was asked for, as far as the underlay carries it. @param nodeId of a network that ends at its node */
export function networkMtu(state: ClusterState, n: Network, nodeId?: string): number {
  const local = nodeId === undefined ? undefined : state.facts.get(nodeId)?.underlayMtu;
  const most = n.driver === 'overlay' ? mostOf(state, n) : (local ?? DEFAULT_MTU_BYTES);
  return Math.min(n.options?.mtu ?? most, most);
}

/** What is encrypted is carried in one more packet. */
const mostOf = (state: ClusterState, n: Network): number =>
  Math.max(MIN_MTU_BYTES, overlayMtu(state) - (n.options?.encrypted === true ? WIREGUARD_OVERHEAD_BYTES : 0));

const overheadOf = (n: Network): number => VXLAN_OVERHEAD_BYTES + (n.options?.encrypted === true ? WIREGUARD_OVERHEAD_BYTES : 0);

/** @throws BAD_VALUE where the underlay is too small for what is asked, or for IPv6 */
export function checkMtu(state: ClusterState, n: Network): void {
  const what = `network ${n.name} cannot be made`;
  const asked = n.options?.mtu;
  if (asked !== undefined && n.driver === 'overlay' && asked > mostOf(state, n)) {
    throw new WeftError('BAD_VALUE', {
      what,
      why: `its MTU of ${asked} is more than the ${mostOf(state, n)} that the nodes' underlay leaves (${overheadOf(n)} bytes are the tunnel's)`,
      hint: `Ask for ${mostOf(state, n)} or less, or leave the option out.`,
    });
  }
  const mtu = networkMtu(state, n);
  if (n.ipv6 && mtu < MIN_MTU6_BYTES) {
    throw new WeftError('BAD_VALUE', {
      what,
      why: `its MTU would be ${mtu}, and IPv6 needs ${MIN_MTU6_BYTES} (RFC 8200 §5)`,
      hint: "Raise the MTU of the nodes' underlay, or do without `enable_ipv6`.",
    });
  }
}
