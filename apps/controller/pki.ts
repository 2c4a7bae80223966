/**
 * What this controller is known by. The first controller of a cluster makes the CA; from it come its own identity, an
 * administrator's identity for the user of this machine, and etcd's certificates. All under `<data-dir>/pki`, but the
 * administrator's, which is `<data-dir>/admin`.
 */
import { randomBytes } from 'node:crypto';
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

async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function writeSecret(path: string, text: string): Promise<void> {
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

async function ensureIdentity(dir: string, make: () => Promise<Identity>): Promise<Identity> {
  const existing = await loadIdentity(dir);
  if (existing) return existing;
  const made = await make();
  await saveIdentity(dir, made);
  return made;
}

/** @throws CORRUPT */
export async function openPki(dataDir: string): Promise<Pki> {
  const dir = join(dataDir, 'pki');
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const { ca, clusterId: newClusterId } = await openCa(dir);
  const identity = await ensureIdentity(join(dir, 'controller'), () =>
    issue(ca, { role: 'controller', id: newId(), clusterId: newClusterId || newId() }),
  );
  const { clusterId } = identity;
  await ensureIdentity(join(dataDir, 'admin'), () => issue(ca, { role: 'admin', id: 'admin', clusterId }));
  const etcdDir = join(dir, 'etcd');
  await ensureIdentity(etcdDir, () =>
    issue(ca, { role: 'controller', id: 'etcd', clusterId }, [
      { type: 'ip', value: '127.0.0.1' },
      { type: 'dns', value: 'localhost' },
    ]),
  );
  const marker = join(dir, 'cluster-made');
  return {
    ca,
    identity,
    etcd: { caFile: join(etcdDir, 'ca.pem'), certFile: join(etcdDir, 'cert.pem'), keyFile: join(etcdDir, 'key.pem') },
    keyring: await Keyring.open(join(dir, 'secret-keys.json')),
    markClusterMade: async () => {
      if ((await readOptional(marker)) === undefined)
        await writeSecret(marker, 'The record of this cluster has been written to etcd once.\n');
    },
    clusterWasMade: async () => (await readOptional(marker)) !== undefined,
  };
}
