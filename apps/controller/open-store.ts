/** etcd: the one that was named, or a child of our own on loopback, which takes only certificates of this cluster's CA. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { clientOptions, startEtcd } from '#store/etcd-process.js';
import { openEtcdStore, type EtcdStoreOptions } from '#store/etcd-store.js';
import type { Store } from '#store/store.js';
import type { ControllerOptions } from './options.js';
import type { Pki } from './pki.js';

export interface OpenedStore {
  store: Store;
  /** Leaves our etcd running: the next start adopts it. */
  detach(): void;
}

/** @throws STORE, PORT_TAKEN, USAGE */
export async function openStore(options: ControllerOptions, pki: Pki, log: Log): Promise<OpenedStore> {
  if (options.etcdEndpoints.length > 0) {
    return { store: await openEtcdStore({ ...(await externalOptions(options)), log }), detach: () => undefined };
  }
  const dataDir = join(options.dataDir, 'etcd');
  const clientUrl = `https://127.0.0.1:${options.etcdClientPort}`;
  const etcd = await startEtcd({
    dataDir,
    name: options.name,
    clientUrl,
    peerUrl: `https://127.0.0.1:${options.etcdPeerPort}`,
    logFile: join(options.dataDir, 'etcd.log'),
    // Nodes and admins hold certificates of the same CA: etcd serves controllers only.
    tls: { ...pki.etcd, allowedName: 'controller.weft' },
    log,
  });
  return { store: await openEtcdStore({ ...clientOptions({ clientUrl, tls: pki.etcd }), log }), detach: () => etcd.detach() };
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
