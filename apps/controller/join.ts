/**
 * How one more controller comes into a cluster. Its token gets it a certificate of the role `controller`; with that it asks
 * for what every controller has to know: the CA's key, to sign certificates itself, the keys of secrets, and where etcd's members are. A start that
 * breaks off is taken up again where it was: a token works only once.
 */
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '#base/clock.js';
import { WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { isPassing, untilItWorks } from '#base/retry.js';
import { decode } from '#model/codec.js';
import { callUnary, connect, connectToJoin } from '#rpc/client.js';
import { ControllersClient, JoinClient } from '#rpc/gen/weft/v1/api.js';
import { createCsr } from '#trust/ca.js';
import { caDigest, identityOf, loadIdentity, saveIdentity, type Identity } from '#trust/identity.js';
import { fetchCa } from '#trust/join.js';
import { parseToken } from '#trust/token.js';
import { z } from 'zod';
import { writeEndpoints } from './etcd-endpoints.js';
import type { ControllerOptions } from './options.js';
import { identityDir, markClusterMade, readOptional, saveClusterKeys, writeSecret } from './pki.js';

const SIGN_TIMEOUT_MS = 15_000;
const ENLIST_TIMEOUT_MS = 15_000;
/** A controller that is asked may have lost touch with etcd just now, as when members come and go. */
const PATIENCE_MS = 30_000;

type JoinOptions = Pick<ControllerOptions, 'dataDir' | 'name' | 'advertise' | 'join' | 'etcdEndpoints'>;

/**
 * Joins if that was asked for and has not been done.
 * @throws TOKEN_INVALID, CONFLICT (name or address are taken), UNAUTHENTICATED (another cluster), UNAVAILABLE
 */
export async function ensureJoined(options: JoinOptions, log: Log): Promise<void> {
  const { dataDir, join: at } = options;
  if (!at || (await loadIdentity(identityDir(dataDir)))) return;
  const joining = `${identityDir(dataDir)}.joining`;
  const controllersFile = join(dataDir, 'joining.json');
  const patiently = patience(log);
  if (!(await loadIdentity(joining))) {
    const { identity, controllers } = await patiently(() => sign(options, at));
    await saveIdentity(joining, identity);
    await writeSecret(controllersFile, JSON.stringify(controllers));
  }
  const identity = (await loadIdentity(joining)) as Identity;
  const controllers = decode(z.array(z.string()), (await readOptional(controllersFile)) ?? '[]', controllersFile);
  await patiently(() => enlist(options, identity, controllers));
  await rename(joining, identityDir(dataDir));
  log.info({ controller: identity.id, cluster: identity.clusterId, controllers }, 'joined the cluster as one more controller');
}

/** Tries again what may pass, for a while from now on. */
function patience(log: Log): <T>(work: () => Promise<T>) => Promise<T> {
  const giveUpAt = systemClock.monotonic() + PATIENCE_MS;
  const context = { clock: systemClock, log, signal: new AbortController().signal };
  return (work) => untilItWorks('joining', work, context, (error) => !isPassing(error) || systemClock.monotonic() > giveUpAt);
}

async function sign(
  { name, advertise }: JoinOptions,
  { host, port, token: text }: NonNullable<JoinOptions['join']>,
): Promise<{ identity: Identity; controllers: string[] }> {
  const token = parseToken(text);
  const caPem = await fetchCa(host, port, token.caDigest);
  const { csrPem, keyPem } = await createCsr();
  const target = `${host}:${port}`;
  const client = connectToJoin(JoinClient, target, caPem);
  try {
    const request = { token: `${token.id}.${token.secret}`, csrPem, name, address: advertise, role: 'controller' };
    const answer = await callUnary(client, 'signCertificate', request, { timeoutMs: SIGN_TIMEOUT_MS, target });
    const identity = identityOf({ caPem, certPem: answer.certificatePem, keyPem });
    if (identity.role === 'controller') return { identity, controllers: answer.controllers };
    throw new WeftError('TOKEN_INVALID', {
      what: 'this token is not for controllers',
      why: `it makes a certificate of the role "${identity.role}"`,
      hint: 'Make one with `ctl controller token`.',
    });
  } finally {
    client.close();
  }
}

/** Asks one controller after another. @throws the last one's error */
async function enlist(options: JoinOptions, identity: Identity, controllers: readonly string[]): Promise<void> {
  let failure: unknown = new WeftError('UNAVAILABLE', 'the cluster named no controller');
  for (const target of controllers) {
    const client = connect(ControllersClient, target, identity, 'controller');
    try {
      const told = await callUnary(client, 'enlist', {}, { timeoutMs: ENLIST_TIMEOUT_MS, target });
      if (caDigest(told.caPem) !== caDigest(identity.caPem))
        throw new WeftError('UNAUTHENTICATED', `the controller at ${target} has another CA than the token names`);
      if (told.etcdEndpoints.length === 0 && options.etcdEndpoints.length === 0)
        throw new WeftError('USAGE', {
          what: 'the controllers of this cluster run no etcd of their own',
          hint: 'Give this one the same --etcd-endpoints as they have.',
        });
      await writeEndpoints(options.dataDir, told.etcdEndpoints);
      await markClusterMade(options.dataDir);
      return await saveClusterKeys(options.dataDir, { certPem: told.caPem, keyPem: told.caKeyPem }, told.secretKeys);
    } catch (error) {
      failure = error;
    } finally {
      client.close();
    }
  }
  throw failure;
}
