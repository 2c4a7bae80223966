/**
 * WireGuard devices, by `wg` (wireguard-tools) and, where the kernel has no WireGuard, `wireguard-go`. Keys reach `wg` in a
 * file of the directory that holds them anyway, there for the moment of the command: never on a command line. (Not on its
 * standard input: of a child of Node's that is a socket, which cannot be opened as /dev/stdin.)
 */
import { createHash } from 'node:crypto';
import { access, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '#base/clock.js';
import { messageOf, WeftError } from '#base/errors.js';
import type { Peer, WireguardLink } from '#overlay/kernel-state.js';
import { NODE_NAMESPACE } from '#overlay/kernel-state.js';
import type { Operation } from '#overlay/operation.js';
import type { Entry } from './enter.js';
import type { Failure } from './kernel.js';
import type { Run } from './runner.js';
import { run } from './runner.js';

/** The secrets behind the names that a state uses for them. */
export interface WireguardSecrets {
  /** Closed to everybody else. */
  readonly directory: string;
  /** In base64; undefined if it is not this node's. */
  privateKey(publicKey: string): string | undefined;
  presharedKey(name: string): string | undefined;
}

export const noSecrets: WireguardSecrets = { directory: '/nonexistent', privateKey: () => undefined, presharedKey: () => undefined };

export type WireguardOperation = Extract<Operation, { op: 'addLink' | 'setLink' | 'putPeer' | 'removePeer' }>;

const WG_TIMEOUT_MS = 5_000;
/** A wireguard-go that ends removes its socket; a new one of that name must not come between. */
const SOCKET_GONE_MS = 1_000;
const LOOK_MS = 20;
const socketOf = (dev: string): string => `/var/run/wireguard/${dev}.sock`;

/** The name of a pre-shared key: it can stand in plans and logs, and does not tell the key. @param key base64 */
export const presharedKeyName = (key: string): string =>
  createHash('sha256').update(`weft pre-shared key ${key}`).digest('hex').slice(0, 16);

/** How this host can encrypt. `userspace`: by wireguard-go. */
export type WireguardEngine = 'kernel' | 'userspace';

/** Tries it out. undefined: it cannot. */
export async function findWireguard(runner: Run = run): Promise<WireguardEngine | undefined> {
  const works = (argv: readonly string[]) =>
    runner(argv).then(
      () => true,
      () => false,
    );
  if (!(await works(['wg', '--version']))) return undefined;
  // In a namespace that is gone with the attempt.
  if (await works(['unshare', '--net', '--', 'ip', 'link', 'add', 'probe', 'type', 'wireguard'])) return 'kernel';
  const hasTun = await access('/dev/net/tun').then(
    () => true,
    () => false,
  );
  return hasTun && (await works(['wireguard-go', '--version'])) ? 'userspace' : undefined;
}

/** Carries out operations of one namespace, going on after one that fails. */
export async function applyWireguard(
  entry: Entry,
  ns: string,
  operations: readonly WireguardOperation[],
  secrets: WireguardSecrets,
): Promise<Failure[]> {
  const failed: Failure[] = [];
  const attempt = async (group: readonly WireguardOperation[], act: () => Promise<unknown>) => {
    try {
      await act();
    } catch (thrown) {
      failed.push(...group.map((operation) => ({ operation, error: withoutKeys(messageOf(thrown)) })));
    }
  };
  for (const o of operations) {
    if (o.op === 'addLink' || o.op === 'setLink')
      await attempt([o], () => putLink(entry, ns, o.name, o.link as WireguardLink, o.op === 'addLink', secrets));
  }
  const gone = operations.flatMap((o) => (o.op === 'removePeer' ? [o] : []));
  for (const [dev, list] of byDevice(gone))
    await attempt(list, () => entry.exec(ns, ['wg', 'set', dev, ...list.flatMap((o) => ['peer', o.peer.publicKey, 'remove'])]));
  const put = operations.flatMap((o) => (o.op === 'putPeer' ? [o] : []));
  for (const [dev, list] of byDevice(put))
    await attempt(list, () =>
      addPeers(
        entry,
        ns,
        dev,
        list.map((o) => o.peer),
        secrets,
      ),
    );
  return failed;
}

function byDevice<T extends { peer: Peer }>(operations: readonly T[]): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const o of operations) groups.set(o.peer.dev, [...(groups.get(o.peer.dev) ?? []), o]);
  return groups;
}

/** Whatever a tool says of a line it did not like, a key is no part of it. */
const withoutKeys = (text: string): string => text.replace(/[A-Za-z0-9+/]{43}=/g, '(key)');

async function putLink(
  entry: Entry,
  ns: string,
  name: string,
  link: WireguardLink,
  isNew: boolean,
  secrets: WireguardSecrets,
): Promise<void> {
  const key = secrets.privateKey(link.publicKey);
  if (key === undefined) throw new WeftError('KERNEL', `the private key of ${link.publicKey} is not on this node`);
  if (isNew) await makeDevice(entry, ns, name);
  await handOver(secrets, `${key}\n`, (file) =>
    entry.exec(ns, ['wg', 'set', name, 'listen-port', String(link.port), 'private-key', file], { timeoutMs: WG_TIMEOUT_MS }),
  );
  const lines = [`link set dev ${name} addrgenmode none`, `link set dev ${name} mtu ${link.mtu} up`];
  await entry.ip(ns, ['-force', '-batch', '-'], { input: `${lines[0]}\n`, accept: [1, 2] });
  await entry.ip(ns, ['-batch', '-'], { input: `${lines[1]}\n` });
}

/** The kernel's if it has one, else a process of wireguard-go, which ends when its device is removed. */
async function makeDevice(entry: Entry, ns: string, name: string): Promise<void> {
  const { exitCode } = await entry.ip(ns, ['link', 'add', name, 'type', 'wireguard'], { accept: [1, 2] });
  if (exitCode === 0) return;
  // What is there under the name does not answer to `wg`, or it would have been seen.
  await entry.ip(ns, ['link', 'del', name], { accept: [1, 2] });
  await socketGone(name);
  // A session of its own: a signal to the agent's terminal is none to the tunnel.
  await entry.exec(ns, ['setsid', 'wireguard-go', name]);
}

async function socketGone(dev: string): Promise<void> {
  const isThere = () =>
    access(socketOf(dev)).then(
      () => true,
      () => false,
    );
  const deadline = systemClock.monotonic() + SOCKET_GONE_MS;
  while (await isThere()) {
    if (systemClock.monotonic() > deadline) return rm(socketOf(dev), { force: true });
    await systemClock.sleep(LOOK_MS);
  }
}

/** Sessions of peers that are there already go on: a new pre-shared key counts from the next handshake. */
async function addPeers(entry: Entry, ns: string, dev: string, peers: readonly Peer[], secrets: WireguardSecrets): Promise<void> {
  const text = peers.map((p) => peerText(p, secrets)).join('\n');
  await handOver(secrets, text, (file) => entry.exec(ns, ['wg', 'addconf', dev, file], { timeoutMs: WG_TIMEOUT_MS }));
}

/** What an end at the wrong moment leaves is overwritten and removed by the next one. */
async function handOver(secrets: WireguardSecrets, text: string, use: (file: string) => Promise<unknown>): Promise<void> {
  const file = join(secrets.directory, 'for-wg');
  await rm(file, { force: true });
  try {
    await writeFile(file, text, { mode: 0o600, flag: 'wx' });
    await use(file);
  } finally {
    await rm(file, { force: true });
  }
}

function peerText(p: Peer, secrets: WireguardSecrets): string {
  const psk = p.presharedKey === '' ? undefined : secrets.presharedKey(p.presharedKey);
  if (p.presharedKey !== '' && psk === undefined) throw new WeftError('KERNEL', `pre-shared key ${p.presharedKey} is not on this node`);
  return [
    '[Peer]',
    `PublicKey = ${p.publicKey}`,
    ...(psk === undefined ? [] : [`PresharedKey = ${psk}`]),
    `Endpoint = ${p.endpoint}`,
    `AllowedIPs = ${p.allowed}`,
    `PersistentKeepalive = ${p.keepaliveS === 0 ? 'off' : p.keepaliveS}`,
    '',
  ].join('\n');
}

/** One WireGuard device as `wg show DEV dump` has it. */
export interface SeenTunnel {
  port: number;
  publicKey: string;
  peers: SeenPeer[];
}

export interface SeenPeer extends Peer {
  /** Seconds since the epoch; 0 for never. */
  lastHandshake: number;
  receivedBytes: number;
  sentBytes: number;
}

/** undefined: there is no such device, or nobody is behind it. @throws KERNEL if it cannot be read */
export async function seeTunnel(entry: Entry, dev: string): Promise<SeenTunnel | undefined> {
  const { stdout, exitCode } = await entry.exec(NODE_NAMESPACE, ['wg', 'show', dev, 'dump'], { accept: [1], timeoutMs: WG_TIMEOUT_MS });
  return exitCode === 0 ? tunnelIn(dev, stdout) : undefined;
}

/** Tab-separated, wg(8): private key, public key, port, mark; then a line a peer. The secrets in it end here. */
export function tunnelIn(dev: string, stdout: string): SeenTunnel {
  const [first, ...rest] = stdout.split('\n').filter((line) => line !== '');
  const [, publicKey, port] = first?.split('\t') ?? [];
  if (publicKey === undefined || port === undefined) throw new WeftError('KERNEL', `cannot read what "wg" printed of ${dev}`);
  return { publicKey, port: Number(port), peers: rest.map((line) => peerIn(dev, line)) };
}

function peerIn(dev: string, line: string): SeenPeer {
  const [publicKey = '', psk = '', endpoint = '', allowed = '', handshake, received, sent, keepalive = ''] = line.split('\t');
  return {
    dev,
    publicKey,
    endpoint,
    allowed,
    presharedKey: psk === '(none)' ? '' : presharedKeyName(psk),
    keepaliveS: keepalive === 'off' ? 0 : Number(keepalive),
    lastHandshake: Number(handshake),
    receivedBytes: Number(received),
    sentBytes: Number(sent),
  };
}

/** What of a peer is a setting. */
export const settingsOf = ({ dev, publicKey, endpoint, allowed, presharedKey, keepaliveS }: SeenPeer): Peer => ({
  dev,
  publicKey,
  endpoint,
  allowed,
  presharedKey,
  keepaliveS,
});
