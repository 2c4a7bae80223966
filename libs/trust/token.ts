/**
 * Join tokens: `weft1.<sha256 of the CA certificate>.<id>.<secret>`. The digest lets the joiner know the right cluster
 * before it says anything secret; of the secret the cluster keeps only a hash. (The secret is 192 random bits: a plain
 * hash is enough, there is nothing to guess.)
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { WeftError } from '#base/errors.js';

const TOKEN = /^weft1\.([0-9a-f]{64})\.([0-9a-f]{16})\.([0-9a-f]{48})$/;
const SECRET_PART = /^([0-9a-f]{16})\.([0-9a-f]{48})$/;

export interface NewToken {
  id: string;
  secretHash: string;
  /** Shown once, never stored. */
  text: string;
}

const hashSecret = (secret: string): string => createHash('sha256').update(secret).digest('hex');

export function makeToken(caDigestHex: string): NewToken {
  const id = randomBytes(8).toString('hex');
  const secret = randomBytes(24).toString('hex');
  return { id, secretHash: hashSecret(secret), text: `weft1.${caDigestHex}.${id}.${secret}` };
}

/** @throws TOKEN_INVALID */
export function parseToken(text: string): { caDigest: string; id: string; secret: string } {
  const match = TOKEN.exec(text.trim());
  if (!match) throw new WeftError('TOKEN_INVALID', 'this is not a join token');
  return { caDigest: match[1] as string, id: match[2] as string, secret: match[3] as string };
}

/** The part that is sent to the controller: `<id>.<secret>`. @throws TOKEN_INVALID */
export function parseSecretPart(text: string): { id: string; secret: string } {
  const match = SECRET_PART.exec(text);
  if (!match) throw new WeftError('TOKEN_INVALID', 'this is not a join token');
  return { id: match[1] as string, secret: match[2] as string };
}

/** Compared in constant time. */
export function secretMatches(secret: string, storedHash: string): boolean {
  const given = Buffer.from(hashSecret(secret), 'hex');
  const stored = Buffer.from(storedHash, 'hex');
  return given.length === stored.length && timingSafeEqual(given, stored);
}
