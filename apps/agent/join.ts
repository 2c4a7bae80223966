/** Who this node is: the identity on disk, or, the first time, one that a controller signs for a join token. */
import { z } from 'zod';
import { WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { decode, encode } from '#model/codec.js';
import { callUnary, connectToJoin } from '#rpc/client.js';
import { JoinClient } from '#rpc/gen/weft/v1/api.js';
import { identityOf, loadIdentity, saveIdentity, type Identity } from '#trust/identity.js';
import { fetchCa } from '#trust/join.js';
import { parseToken } from '#trust/token.js';
import { readIfThere, writeAtomic } from './atomic-file.js';
import type { Layout } from './layout.js';
import type { AgentOptions } from './options.js';

const SIGN_TIMEOUT_MS = 15_000;

export interface Membership {
  identity: Identity;
  /** host:port */
  controllers: string[];
}

/** @throws UNAUTHENTICATED when there is neither identity nor token; TOKEN_INVALID, UNAVAILABLE */
export async function ensureMembership(options: AgentOptions, layout: Layout, log: Log): Promise<Membership> {
  const known = await loadIdentity(layout.pki);
  if (known) return { identity: known, controllers: merge(options.controllers, await readControllers(layout)) };
  if (!options.join) {
    throw new WeftError('UNAUTHENTICATED', {
      what: 'this node belongs to no cluster yet',
      why: `${layout.pki} holds no certificate`,
      hint: 'Start it with --join HOST:PORT and --token TOKEN (from `ctl node token`).',
    });
  }
  const { identity, controllers } = await join(options, options.join);
  await saveIdentity(layout.pki, identity);
  await writeAtomic(layout.controllersFile, encode(controllers));
  log.info({ node: identity.id, cluster: identity.clusterId, controllers }, 'joined the cluster');
  return { identity, controllers: merge(options.controllers, controllers) };
}

async function join(options: AgentOptions, at: { token: string; host: string; port: number }): Promise<Membership> {
  const token = parseToken(at.token);
  const caPem = await fetchCa(at.host, at.port, token.caDigest);
  // Only the first start makes a certificate: later ones do without the library for it.
  const { createCsr } = await import('#trust/ca.js');
  const { csrPem, keyPem } = await createCsr();
  const target = `${at.host}:${at.port}`;
  const client = connectToJoin(JoinClient, target, caPem);
  try {
    const request = { token: `${token.id}.${token.secret}`, csrPem, name: options.name, address: options.address, role: 'node' };
    const answer = await callUnary(client, 'signCertificate', request, { timeoutMs: SIGN_TIMEOUT_MS, target });
    const identity = identityOf({ caPem, certPem: answer.certificatePem, keyPem });
    if (identity.role !== 'node')
      throw new WeftError('TOKEN_INVALID', {
        what: 'this token is not for nodes',
        why: `it makes a certificate of the role "${identity.role}"`,
      });
    return { identity, controllers: answer.controllers };
  } finally {
    client.close();
  }
}

async function readControllers(layout: Layout): Promise<string[]> {
  const text = await readIfThere(layout.controllersFile);
  return text === undefined ? [] : decode(z.array(z.string()), text, layout.controllersFile);
}

const merge = (...lists: string[][]): string[] => [...new Set(lists.flat())];
