/**
 * What nodes know of one another to encrypt: public keys and inner addresses. Private keys never leave their node and
 * have no place here.
 */
import { z } from 'zod';
import { WeftError } from '#base/errors.js';

/** 32 bytes in base64 (RFC 7748 §5, RFC 4648 §4). */
export const publicKeySchema = z.string().regex(/^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/);

export const wireguardKeysSchema = z.object({
  /** WireGuard's own key: who the node is. It lasts as long as the node. */
  publicKey: publicKeySchema,
  /** Changes on a timer. Two nodes' make the pre-shared key of the pair, by X25519 on either end. */
  rotatingKey: publicKeySchema,
});

export type WireguardKeys = z.infer<typeof wireguardKeysSchema>;

/** The name of the feature (node facts) that encrypted networks ask for. */
export const WIREGUARD_FEATURE = 'wireguard';

/** What WireGuard adds to a packet over IPv4, in bytes: 20 IP + 8 UDP + 16 header + 16 tag. */
export const WIREGUARD_OVERHEAD_BYTES = 60;

/** Below 169.254.169.254 and its like, where clouds answer their guests; far from the addresses of any subnet. */
const MOST_NODES = 10_000;

/**
 * A node's address inside the tunnels: the end of its VXLAN of encrypted networks. Link-local (RFC 3927), so that it is
 * in no subnet of anybody's and no router carries it.
 * @param index of the node, which is never used again
 */
export function tunnelAddress(index: number): string {
  if (!(index >= 1 && index <= MOST_NODES)) throw new WeftError('BAD_VALUE', `node number ${index} has no address inside the tunnels`);
  return `169.254.${128 + (index >> 8)}.${index & 255}`;
}
