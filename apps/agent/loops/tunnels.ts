/**
 * What of encryption is not a state of the kernel: rotating the key on a timer and when told to, and meeting peers that
 * did not hear of a rotation (cut off from the controllers) with a key that they know.
 */
import type { Clock } from '#base/clock.js';
import { messageOf } from '#base/errors.js';
import type { Log } from '#base/log.js';
import type { SeenPeer, SeenTunnel } from '#linux/wireguard.js';
import type { ViewByKind } from '#model/view-state.js';
import type { WireguardKeys } from '#model/tunnel.js';
import { wireguardName } from '#overlay/names.js';
import { isEncrypted, type TunnelKeys } from '#overlay/tunnels.js';
import type { NodeTunnelKeys } from '../tunnel-keys.js';

const LOOK_MS = 10_000;
/** A peer that is spoken with shakes hands every two minutes (REKEY_AFTER_TIME); a session ends after three (REJECT_AFTER_TIME). */
const STALE_S = 145;

export interface TunnelLoopOptions {
  keys: NodeTunnelKeys;
  nodeId: string;
  /** Whether this host can encrypt. */
  isAble: () => boolean;
  view: () => ViewByKind;
  /** The WireGuard device as it is; undefined if there is none. */
  see: (dev: string) => Promise<SeenTunnel | undefined>;
  rotateEveryMs: number;
  /** There are new public keys to tell. */
  onNews: () => void;
  /** What `keysFor` gives has changed. */
  onChange: () => void;
  clock: Clock;
  log: Log;
}

export class TunnelLoop {
  readonly #o: TunnelLoopOptions;
  /** Node id → how many keys back it still is. */
  readonly #older = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();

  constructor(options: TunnelLoopOptions) {
    this.#o = options;
  }

  start(): void {
    this.#timer = setInterval(() => (this.#looking = this.#looking.then(() => this.tick())), LOOK_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  /** undefined where this host cannot encrypt. */
  publicKeys(): WireguardKeys | undefined {
    return this.#o.isAble() ? this.#o.keys.publicKeys : undefined;
  }

  keysFor(view: ViewByKind): TunnelKeys | undefined {
    const { isAble, keys, nodeId } = this.#o;
    return isAble() ? keys.forOverlay(view.members, nodeId, this.#older) : undefined;
  }

  /** Makes a new rotating key and tells of it; it is used once the cluster knows. */
  async rotate(): Promise<void> {
    const { keys, clock, onNews, log } = this.#o;
    await keys.rotate(clock.now());
    log.info({ rotatingKey: keys.publicKeys.rotatingKey }, 'rotated the key of the tunnels');
    onNews();
  }

  /** One look: is a rotation due, is a peer out of touch? Never rejects. */
  async tick(): Promise<void> {
    const { keys, rotateEveryMs, isAble, clock, log } = this.#o;
    if (!isAble()) return;
    try {
      if (clock.now() - keys.rotatedAt >= rotateEveryMs) await this.rotate();
      await this.#lookAfterPeers();
    } catch (error) {
      log.warn({ error: messageOf(error) }, 'could not look after the tunnels');
    }
  }

  async #lookAfterPeers(): Promise<void> {
    const { see, view, nodeId, keys, clock, onChange, log } = this.#o;
    const current = view();
    if (keys.kept < 2 || !current.networks.some(isEncrypted)) return;
    const tunnel = await see(wireguardName(nodeId));
    const members = new Map(current.members.flatMap((m) => (m.wireguard ? [[m.wireguard.publicKey, m] as const] : [])));
    let changed = false;
    for (const peer of tunnel?.peers ?? []) {
      const member = members.get(peer.publicKey);
      if (!member || !isStale(peer, clock.now())) continue;
      const back = ((this.#older.get(member.id) ?? 0) + 1) % keys.kept;
      if (back === 0) this.#older.delete(member.id);
      else this.#older.set(member.id, back);
      log.warn({ peer: member.name, back }, 'no handshake with a node: trying another of the keys that it may know');
      changed = true;
    }
    if (changed) onChange();
  }
}

/** A peer that is kept in touch with, and once was, and is not any more. */
const isStale = (peer: SeenPeer, now: number): boolean =>
  peer.keepaliveS > 0 && peer.lastHandshake > 0 && now / 1_000 - peer.lastHandshake > STALE_S;
