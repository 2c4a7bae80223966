/**
 * The keys a node encrypts with. They are made here and stay here, in one file that only root reads; what others are told
 * is their public halves.
 *
 * Two kinds. The node's own WireGuard key says who it is, and lasts as long as the node. The rotating key changes on a
 * timer: with the rotating key of another node it makes, by X25519 and HKDF on either end alike, the pre-shared key of the
 * pair, without which no handshake succeeds. WireGuard takes up a new pre-shared key with the next handshake (at latest two
 * minutes later, and sessions last three): so a key changes without the loss of a packet, although two nodes never learn
 * of it in the same instant.
 */
import { createHash, createPrivateKey, createPublicKey, diffieHellman, generateKeyPairSync, hkdfSync, type KeyObject } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { WeftError } from '#base/errors.js';
import { presharedKeyName, type WireguardSecrets } from '#linux/wireguard.js';
import type { Member } from '#model/node-view.js';
import { publicKeySchema, type WireguardKeys } from '#model/tunnel.js';
import type { TunnelKeys } from '#overlay/tunnels.js';
import { readIfThere, writeAtomic } from './atomic-file.js';

/** A peer that was out of touch while keys rotated is met again with the key it knows, if it is one of these. */
const KEPT = 4;
/** RFC 7748 keys in the envelopes that node:crypto takes (RFC 8410 §7 and §4). */
const PKCS8_HEAD = Buffer.from('302e020100300506032b656e04220420', 'hex');
const SPKI_HEAD = Buffer.from('302a300506032b656e032100', 'hex');

const fileSchema = z.object({
  /** Private, base64. */
  node: z.string(),
  /** Newest first. */
  rotating: z.array(z.object({ key: z.string(), madeAt: z.number() })).min(1),
});
type KeyFile = z.infer<typeof fileSchema>;

const newPrivateKey = (): string =>
  generateKeyPairSync('x25519').privateKey.export({ type: 'pkcs8', format: 'der' }).subarray(PKCS8_HEAD.length).toString('base64');

const privateObject = (key: string): KeyObject =>
  createPrivateKey({ key: Buffer.concat([PKCS8_HEAD, Buffer.from(key, 'base64')]), format: 'der', type: 'pkcs8' });
const publicObject = (key: string): KeyObject =>
  createPublicKey({ key: Buffer.concat([SPKI_HEAD, Buffer.from(key, 'base64')]), format: 'der', type: 'spki' });

/** The public half of a private key; both base64. */
const publicOf = (key: string): string =>
  createPublicKey(privateObject(key)).export({ type: 'spki', format: 'der' }).subarray(SPKI_HEAD.length).toString('base64');

/** The same on both ends. undefined if the other's key is none to speak with (it would make a secret that anybody knows). */
export function presharedKey(ownPrivate: string, otherPublic: string): string | undefined {
  try {
    const shared = diffieHellman({ privateKey: privateObject(ownPrivate), publicKey: publicObject(otherPublic) });
    const salt = createHash('sha256')
      .update([publicOf(ownPrivate), otherPublic].sort().join(' '))
      .digest();
    return Buffer.from(hkdfSync('sha256', shared, salt, 'weft wireguard pre-shared key', 32)).toString('base64');
  } catch {
    return undefined;
  }
}

export class NodeTunnelKeys implements WireguardSecrets {
  readonly directory: string;
  readonly #path: string;
  #file: KeyFile;
  /** Pre-shared keys by name, as far as they were asked for. */
  readonly #shared = new Map<string, string>();
  /** Name of the key of a pair, by `<own private> <other public>`; '' if there is none. */
  readonly #pairs = new Map<string, string>();

  /** Private → public: asked for whenever the view changed. */
  readonly #publics = new Map<string, string>();

  private constructor(path: string, file: KeyFile) {
    this.#path = path;
    this.directory = dirname(path);
    this.#file = file;
  }

  /** Reads the node's keys, or makes them. @throws CORRUPT */
  static async open(dir: string, now: number): Promise<NodeTunnelKeys> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const path = join(dir, 'tunnel-keys.json');
    const text = await readIfThere(path);
    if (text !== undefined) return new NodeTunnelKeys(path, parse(text, path));
    const keys = new NodeTunnelKeys(path, { node: newPrivateKey(), rotating: [{ key: newPrivateKey(), madeAt: now }] });
    await keys.#save();
    return keys;
  }

  get publicKeys(): WireguardKeys {
    return { publicKey: this.#public(this.#file.node), rotatingKey: this.#public(this.#newest.key) };
  }

  /** When the rotating key was made; ms since the epoch. */
  get rotatedAt(): number {
    return this.#newest.madeAt;
  }

  /** Resolves when the new key is on disk: only then may others be told of it. */
  async rotate(now: number): Promise<void> {
    this.#file = { ...this.#file, rotating: [{ key: newPrivateKey(), madeAt: now }, ...this.#file.rotating].slice(0, KEPT) };
    await this.#save();
  }

  /** How many rotating keys are kept. */
  get kept(): number {
    return this.#file.rotating.length;
  }

  /**
   * What the overlay needs to know, and no key. The own rotating key is the one that the cluster tells of, so that both
   * ends of a pair change when they hear of it.
   * @param older node id → how many keys back that node still is
   */
  forOverlay(members: readonly Member[], nodeId: string, older: ReadonlyMap<string, number> = new Map()): TunnelKeys {
    const told = members.find((m) => m.kind === 'node' && m.id === nodeId)?.wireguard?.rotatingKey;
    const known = this.#file.rotating.findIndex(({ key }) => this.#public(key) === told);
    const names: [string, string][] = [];
    for (const m of members) {
      if (m.kind !== 'node' || m.id === nodeId || !m.wireguard) continue;
      const at = Math.max(0, known) + (older.get(m.id) ?? 0);
      const name = this.#nameOf(this.#file.rotating[at % this.kept]?.key ?? this.#newest.key, m.wireguard.rotatingKey);
      if (name !== '') names.push([m.id, name]);
    }
    return { publicKey: this.#public(this.#file.node), presharedKeys: Object.fromEntries(names) };
  }

  privateKey(publicKey: string): string | undefined {
    return this.#public(this.#file.node) === publicKey ? this.#file.node : undefined;
  }

  presharedKey(name: string): string | undefined {
    return this.#shared.get(name);
  }

  get #newest(): KeyFile['rotating'][number] {
    return this.#file.rotating[0] as KeyFile['rotating'][number];
  }

  #public(key: string): string {
    let found = this.#publics.get(key);
    if (found === undefined) this.#publics.set(key, (found = publicOf(key)));
    return found;
  }

  #nameOf(own: string, other: string): string {
    const pair = `${own} ${other}`;
    const found = this.#pairs.get(pair);
    if (found !== undefined) return found;
    const key = publicKeySchema.safeParse(other).success ? presharedKey(own, other) : undefined;
    const name = key === undefined ? '' : presharedKeyName(key);
    this.#pairs.set(pair, name);
    if (key !== undefined) this.#shared.set(name, key);
    return name;
  }

  async #save(): Promise<void> {
    await writeAtomic(this.#path, JSON.stringify(this.#file), 0o600);
  }
}

function parse(text: string, path: string): KeyFile {
  try {
    return fileSchema.parse(JSON.parse(text));
  } catch {
    // The text itself is no part of what is said: it is secret.
    throw new WeftError('CORRUPT', { what: `cannot read ${path}`, hint: 'Move it away: new keys are made at the next start.' });
  }
}
