/** Who we are to a registry: its challenge (RFC 7235) answered with Basic, or with a token fetched for this one repository. */
import { isIPv4 } from 'node:net';
import { z } from 'zod';
import { WeftError } from '#base/errors.js';
import type { RegistryAuth } from './runtime.js';

export interface Challenge {
  scheme: string;
  parameters: Record<string, string>;
}

/** `Bearer realm="https://…",service="…"` in its parts. */
export function parseChallenge(header: string): Challenge | undefined {
  const match = /^\s*([A-Za-z]+)\s*(.*)$/s.exec(header);
  if (!match) return undefined;
  const parameters: Record<string, string> = {};
  for (const [, name, quoted, bare] of (match[2] as string).matchAll(/([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))/g)) {
    parameters[(name as string).toLowerCase()] = quoted?.replace(/\\(.)/g, '$1') ?? bare ?? '';
  }
  return { scheme: (match[1] as string).toLowerCase(), parameters };
}

export const basicAuthorization = (auth: RegistryAuth): string =>
  `Basic ${Buffer.from(`${auth.username}:${auth.password}`, 'utf8').toString('base64')}`;

/** This machine itself: the only place to which a password may go unencrypted. */
export function isLoopbackHost(hostname: string): boolean {
  const name = hostname.replace(/^\[|\]$/g, '');
  return name === 'localhost' || name === '::1' || (isIPv4(name) && name.startsWith('127.'));
}

/** The URL to ask for a token. @throws UNAUTHENTICATED if the registry sends us somewhere that is not safe */
export function tokenUrl(challenge: Challenge, repository: string): URL {
  const { realm = '', service } = challenge.parameters;
  if (!URL.canParse(realm))
    throw new WeftError('UNAUTHENTICATED', { what: 'the registry asks for a token', why: 'it does not say where to get it' });
  const url = new URL(realm);
  const safe = url.protocol === 'https:' || (url.protocol === 'http:' && isLoopbackHost(url.hostname));
  if (!safe)
    throw new WeftError('UNAUTHENTICATED', {
      what: 'the registry asks for a password over an unencrypted connection',
      why: `its token server is ${url.origin}`,
    });
  if (service) url.searchParams.set('service', service);
  url.searchParams.set('scope', challenge.parameters['scope'] ?? `repository:${repository}:pull`);
  return url;
}

const tokenAnswer = z.object({ token: z.string().optional(), access_token: z.string().optional() });

/** The token in a token server's answer. */
export function tokenOf(body: unknown): string | undefined {
  const answer = tokenAnswer.safeParse(body);
  return answer.success ? (answer.data.token ?? answer.data.access_token) : undefined;
}
