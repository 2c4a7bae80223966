/** An identity: a certificate of the cluster's CA, its key, and what the certificate says of its holder. Kept as three files. */
import { createHash, X509Certificate } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, WeftError } from '#base/errors.js';

export interface Identity {
  caPem: string;
  certPem: string;
  keyPem: string;
  role: 'controller' | 'node' | 'admin';
  id: string;
  clusterId: string;
}

/** Reads CN, OU and O out of a certificate. @throws CORRUPT */
export function identityOf(pems: { caPem: string; certPem: string; keyPem: string }): Identity {
  try {
    const subject = new X509Certificate(pems.certPem).toLegacyObject().subject as unknown as Record<string, string | undefined>;
    const { OU: role, CN: id, O: clusterId } = subject;
    if ((role !== 'controller' && role !== 'node' && role !== 'admin') || !id || !clusterId) throw new Error('subject lacks CN, OU or O');
    return { ...pems, role, id, clusterId };
  } catch (error) {
    throw new WeftError('CORRUPT', { what: 'the certificate is not one of this cluster', why: messageOf(error), cause: error });
  }
}

/** @returns undefined when there is none yet. @throws CORRUPT */
export async function loadIdentity(dir: string): Promise<Identity | undefined> {
  try {
    const [caPem, certPem, keyPem] = await Promise.all(['ca.pem', 'cert.pem', 'key.pem'].map((file) => readFile(join(dir, file), 'utf8')));
    return identityOf({ caPem: caPem as string, certPem: certPem as string, keyPem: keyPem as string });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** The certificate goes last: an identity whose certificate is there is whole. */
export async function saveIdentity(dir: string, identity: Pick<Identity, 'caPem' | 'certPem' | 'keyPem'>): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  for (const [file, text] of [
    ['ca.pem', identity.caPem],
    ['key.pem', identity.keyPem],
    ['cert.pem', identity.certPem],
  ] as const) {
    const path = join(dir, file);
    await writeFile(`${path}.new`, text, { mode: 0o600 });
    await rename(`${path}.new`, path);
  }
}

/** sha256 of the certificate's DER, hex: what a token pins. @throws BAD_VALUE */
export function caDigest(caPem: string): string {
  try {
    return createHash('sha256').update(new X509Certificate(caPem).raw).digest('hex');
  } catch (error) {
    throw new WeftError('BAD_VALUE', { what: 'the CA certificate does not parse', why: messageOf(error) });
  }
}
