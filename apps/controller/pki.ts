/**
 * What this controller is known by. The first controller of a cluster makes the CA, later ones get it when they join
 * (join.ts); from it come its own identity, an administrator's identity for the user of this machine, and etcd's
 * certificates. All under `<data-dir>/pki`, but the administrator's, which is `<data-dir>/admin`.
 */
import { randomBytes, X509Certificate } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WeftError } from '#base/errors.js';
import { createCa, issue, type Ca } from '#trust/ca.js';
import { Keyring } from '#trust/keyring.js';
import { loadIdentity, saveIdentity, type Identity } from '#trust/identity.js';

export interface Pki {
  ca: Ca;
  /** Of the role `controller`. */
  identity: Identity;
  /** For etcd: server and clients alike. Paths of PEM files. */
  etcd: { caFile: string; certFile: string; keyFile: string };
  /** What secrets are sealed with: the same on every controller. */
  keyring: Keyring;
  /** Notes that the cluster record was made once: an etcd without it has lost it. */
  markClusterMade(): Promise<void>;
  clusterWasMade(): Promise<boolean>;
}

const newId = (): string => randomBytes(8).toString('hex');

/** @returns undefined when there is no such file */
export async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Whole or not at all, and for the owner only. */
export async function writeSecret(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text, { mode: 0o600 });
  await rename(`${path}.new`, path);
}

/** The certificate goes last: a CA whose certificate is there is whole. */
async function openCa(dir: string): Promise<{ ca: Ca; isNew: boolean; clusterId: string }> {
  const [certPem, keyPem] = await Promise.all([readOptional(join(dir, 'ca.pem')), readOptional(join(dir, 'ca-key.pem'))]);
  if (certPem !== undefined && keyPem !== undefined) return { ca: { certPem, keyPem }, isNew: false, clusterId: '' };
  if (certPem !== undefined)
    throw new WeftError('CORRUPT', { what: `the CA's key is missing in ${dir}`, hint: 'Restore ca-key.pem from a backup.' });
  const clusterId = newId();
  const ca = await createCa(clusterId);
  await writeSecret(join(dir, 'ca-key.pem'), ca.keyPem);
  await writeSecret(join(dir, 'ca.pem'), ca.certPem);
  return { ca, isNew: true, clusterId };
}

const keyringOf = (dir: string): string => join(dir, 'secret-keys.json');

/** Keeps what was learnt by joining: the keys that every controller has. The CA goes last: who has it has all. @throws CORRUPT */
export async function saveClusterKeys(dataDir: string, ca: Ca, secretKeys: string): Promise<void> {
  const dir = join(dataDir, 'pki');
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await Keyring.save(keyringOf(dir), secretKeys);
  await writeSecret(join(dir, 'ca-key.pem'), ca.keyPem);
  await writeSecret(join(dir, 'ca.pem'), ca.certPem);
}

const markerOf = (dataDir: string): string => join(dataDir, 'pki', 'cluster-made');

/** Notes that the cluster has a record: an etcd without it has lost it. */
export async function markClusterMade(dataDir: string): Promise<void> {
  await mkdir(join(dataDir, 'pki'), { recursive: true, mode: 0o700 });
  if ((await readOptional(markerOf(dataDir))) === undefined)
    await writeSecret(markerOf(dataDir), 'The record of this cluster has been written to etcd once.\n');
}

/** Where a controller's own identity is kept. */
export const identityDir = (dataDir: string): string => join(dataDir, 'pki', 'controller');

async function ensureIdentity(dir: string, make: () => Promise<Identity>): Promise<Identity> {
  const existing = await loadIdentity(dir);
  if (existing) return existing;
  const made = await make();
  await saveIdentity(dir, made);
  return made;
}

/** etcd's members know one another by the addresses in their certificates. */
async function ensureEtcdIdentity(dir: string, ca: Ca, clusterId: string, address: string): Promise<void> {
  const existing = await loadIdentity(dir);
  if (existing && new X509Certificate(existing.certPem).checkIP(address) !== undefined) return;
  const names = [...new Set(['127.0.0.1', address])].map((value) => ({ type: 'ip' as const, value }));
  await saveIdentity(dir, await issue(ca, { role: 'controller', id: 'etcd', clusterId }, [...names, { type: 'dns', value: 'localhost' }]));
}

/** @param address where other hosts reach this one. @throws CORRUPT */
export async function openPki(dataDir: string, address: string): Promise<Pki> {
  const dir = join(dataDir, 'pki');
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const { ca, clusterId: newClusterId } = await openCa(dir);
  const identity = await ensureIdentity(identityDir(dataDir), () =>
    issue(ca, { role: 'controller', id: newId(), clusterId: newClusterId || newId() }),
  );
  const { clusterId } = identity;
  await ensureIdentity(join(dataDir, 'admin'), () => issue(ca, { role: 'admin', id: 'admin', clusterId }));
  const etcdDir = join(dir, 'etcd');
  await ensureEtcdIdentity(etcdDir, ca, clusterId, address);
  const marker = markerOf(dataDir);
  return {
    ca,
    identity,
    etcd: { caFile: join(etcdDir, 'ca.pem'), certFile: join(etcdDir, 'cert.pem'), keyFile: join(etcdDir, 'key.pem') },
    keyring: await Keyring.open(keyringOf(dir)),
    markClusterMade: () => markClusterMade(dataDir),
    clusterWasMade: async () => (await readOptional(marker)) !== undefined,
  };
}
