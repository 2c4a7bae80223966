/**
 * etcd: the one that was named, or a member of our own, which takes only certificates of this cluster's controllers. Where
 * there are members beside ours, a new one of ours joins them as a learner, and they serve while ours does not.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '#base/clock.js';
import { messageOf, WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { keys } from '#model/keys.js';
import { initialCluster, type EtcdMember, type EtcdMembers } from '#store/etcd-members.js';
import { clientOptions, startEtcd, type EtcdHandle } from '#store/etcd-process.js';
import { openEtcdStore, type EtcdStore, type EtcdStoreOptions } from '#store/etcd-store.js';
import type { Store } from '#store/store.js';
import { readEndpoints } from './etcd-endpoints.js';
import type { ControllerOptions } from './options.js';
import type { Pki } from './pki.js';

/** How our own member is reached. */
export interface OwnMember {
  /** By this controller. */
  clientUrl: string;
  /** By others. */
  publicClientUrl: string;
  peerUrl: string;
}

export interface OpenedStore {
  store: Store;
  /** The etcd that the controllers run themselves; none where another was named. */
  etcd?: { own: OwnMember; members: EtcdMembers };
  /** Leaves our etcd running: the next start adopts it. */
  detach(): void;
}

/** etcd takes a new member only when the others have been connected for some seconds, and one learner at a time. */
const BECOME_MEMBER_MS = 90_000;
const RETRY_MS = 500;

function ownMember({ advertise, etcdClientPort, etcdPeerPort }: ControllerOptions): OwnMember {
  return {
    clientUrl: `https://127.0.0.1:${etcdClientPort}`,
    publicClientUrl: `https://${advertise}:${etcdClientPort}`,
    peerUrl: `https://${advertise}:${etcdPeerPort}`,
  };
}

/** @throws STORE, PORT_TAKEN, USAGE; FORBIDDEN when this controller was removed from the cluster */
export async function openStore(options: ControllerOptions, pki: Pki, log: Log): Promise<OpenedStore> {
  if (options.etcdEndpoints.length > 0) {
    return { store: await openEtcdStore({ ...(await externalOptions(options)), log }), detach: () => undefined };
  }
  const own = ownMember(options);
  const others = (await readEndpoints(options.dataDir)).filter((url) => url !== own.publicClientUrl);
  const etcd = await startOwn(options, pki, own, others, log);
  const { credentials } = clientOptions({ clientUrl: own.clientUrl, tls: pki.etcd });
  const store = await openEtcdStore({ endpoints: [own.clientUrl, ...others], credentials, log });
  return { store, etcd: { own, members: store.members }, detach: () => etcd.detach() };
}

async function startOwn(options: ControllerOptions, pki: Pki, own: OwnMember, others: string[], log: Log): Promise<EtcdHandle> {
  const dataDir = join(options.dataDir, 'etcd');
  const isNew = !existsSync(join(dataDir, 'member'));
  const elsewhere: Elsewhere = (use) => withStore(others, pki, use);
  if (others.length > 0) await refuseRemoved(elsewhere, pki.identity.id, log);
  const me = { name: options.name, peerUrl: own.peerUrl };
  return startEtcd({
    dataDir,
    name: options.name,
    ...own,
    logFile: join(options.dataDir, 'etcd.log'),
    // Nodes and admins hold certificates of the same CA: etcd serves controllers only.
    tls: { ...pki.etcd, allowedName: 'controller.weft' },
    join: isNew && others.length > 0 ? await elsewhere((store) => becomeMember(store.members, me, log)) : undefined,
    log,
  });
}

type Elsewhere = <T>(use: (store: EtcdStore) => Promise<T>) => Promise<T>;

/** Speaks to other members than our own. */
async function withStore<T>(endpoints: string[], pki: Pki, use: (store: EtcdStore) => Promise<T>): Promise<T> {
  const { credentials } = clientOptions({ clientUrl: '', tls: pki.etcd });
  const store = await openEtcdStore({ endpoints, credentials });
  try {
    return await use(store);
  } finally {
    await store.close();
  }
}

/** The member of a removed controller is not taken back either: asked first, the reason is told instead of etcd's. @throws FORBIDDEN */
async function refuseRemoved(elsewhere: Elsewhere, id: string, log: Log): Promise<void> {
  const entry = await elsewhere((store) => store.get(keys.removedController(id))).catch((error: unknown) => {
    log.debug({ error: messageOf(error) }, 'no other member of etcd answers');
    return undefined;
  });
  if (entry) throw removedError();
}

export const removedError = (): WeftError =>
  new WeftError('FORBIDDEN', {
    what: 'this controller was removed from the cluster',
    hint: 'To bring it back, empty its data directory and join it again with a new token: `ctl controller token`.',
  });

/** @returns `--initial-cluster` for its first start. @throws STORE when the others do not take it in time */
async function becomeMember(members: EtcdMembers, own: { name: string; peerUrl: string }, log: Log): Promise<string> {
  const giveUpAt = systemClock.monotonic() + BECOME_MEMBER_MS;
  for (;;) {
    try {
      return initialCluster(await ensureMember(members, own.peerUrl, log), own);
    } catch (error) {
      if (systemClock.monotonic() > giveUpAt) throw error;
      log.info({ reason: messageOf(error) }, 'the members of etcd do not take a new one yet');
    }
    await systemClock.sleep(RETRY_MS);
  }
}

async function ensureMember(members: EtcdMembers, peerUrl: string, log: Log): Promise<EtcdMember[]> {
  const all = await members.list();
  const mine = all.find((m) => m.peerUrls.includes(peerUrl));
  if (mine && mine.name === '') return all;
  if (mine) {
    // It had data once, and they are gone: only a new member may begin without.
    log.warn({ member: mine.id }, 'the data of our member of etcd are gone: it is replaced by a new one');
    await members.remove(mine.id);
  }
  return members.addLearner(peerUrl);
}

async function externalOptions(options: ControllerOptions): Promise<EtcdStoreOptions> {
  const { etcdEndpoints: endpoints, etcdCa, etcdCert, etcdKey } = options;
  const isLoopback = (url: string): boolean => {
    const { hostname } = new URL(url.includes('://') ? url : `http://${url}`);
    return hostname === 'localhost' || hostname.startsWith('127.') || hostname === '[::1]';
  };
  if (etcdCa === undefined && etcdCert === undefined && etcdKey === undefined) {
    if (endpoints.every(isLoopback)) return { endpoints };
    throw new WeftError('USAGE', { what: 'etcd on another host needs certificates', hint: 'Give --etcd-ca, --etcd-cert and --etcd-key.' });
  }
  if (etcdCa === undefined || etcdCert === undefined || etcdKey === undefined) {
    throw new WeftError('USAGE', { what: '--etcd-ca, --etcd-cert and --etcd-key belong together', hint: 'See `weft-controller --help`.' });
  }
  const [rootCertificate, certChain, privateKey] = await Promise.all([readFile(etcdCa), readFile(etcdCert), readFile(etcdKey)]);
  return { endpoints, credentials: { rootCertificate, certChain, privateKey } };
}
