/** The container runtime on containerd (1.6 to 2.x): connects, checks, and puts the parts of this room together. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { ContainerdClient, isAlreadyExists } from './client.js';
import { attachContainer, settleContainer } from './attach.js';
import type { ContainerContext } from './containers.js';
import {
  createContainer,
  killContainer,
  listContainers,
  openContainerRoot,
  processIdOf,
  recreateContainer,
  removeContainer,
  startContainer,
  stopContainer,
} from './containers.js';
import { watchEvents } from './events.js';
import type { ExecContext } from './exec.js';
import { execInContainer } from './exec.js';
import { IntrospectionService } from './gen/services/introspection/v1/introspection.js';
import { NamespacesService } from './gen/services/namespaces/v1/namespace.js';
import { VersionService } from './gen/services/version/v1/version.js';
import { ImageView } from './image-view.js';
import { hostPlatform } from './image-config.js';
import type { ImageContext } from './images.js';
import { listImages, removeImage, resolveImage } from './images.js';
import { describeImage, importArchive, receiveImages } from './import.js';
import { streamBlob } from './content.js';
import { pullImage, resolveRemote } from './pull.js';
import { processesOf } from './processes.js';
import type { Runtime } from './runtime.js';
import { usageOf } from './usage.js';
import { ImageUserFiles } from './user-files.js';

export interface ContainerdOptions {
  /** Path of containerd's unix socket. */
  socket: string;
  /** containerd namespace: ours alone. */
  namespace: string;
  runtimeName?: string;
  snapshotter?: string;
  /** Directory of ours for FIFOs of added processes and short-lived mounts; made if absent. */
  stateDir: string;
  log: Log;
}

const CONNECT_DEADLINE_MS = 5000;
const OLDEST = [1, 6] as const;
/** containerd's own rule for namespace names. */
const NAMESPACE = /^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$/;

/** @throws RUNTIME if containerd does not answer, is too old, or cannot use the snapshotter; BAD_NAME */
export async function openContainerd(options: ContainerdOptions): Promise<Runtime> {
  const { socket, namespace, runtimeName = 'io.containerd.runc.v2', snapshotter = 'overlayfs', stateDir, log } = options;
  if (!NAMESPACE.test(namespace) || namespace.length > 76)
    throw new WeftError('BAD_NAME', `${JSON.stringify(namespace.slice(0, 80))} is not a name for a containerd namespace`);
  const client = new ContainerdClient(socket, namespace);
  try {
    await checkVersion(client);
    await checkSnapshotter(client, snapshotter);
    await ensureNamespace(client);
    const execDirectory = join(stateDir, 'exec');
    // FIFOs of commands that ran when we last went away: nobody holds their other end any more.
    await rm(execDirectory, { recursive: true, force: true });
    await mkdir(execDirectory, { recursive: true, mode: 0o700 });
    const view = new ImageView(client, snapshotter, stateDir);
    await view.clean();
    const images: ImageContext = { client, snapshotter, platform: hostPlatform(process.arch), log, parsed: new Map() };
    const containers: ContainerContext = { client, images, view, userFiles: new ImageUserFiles(view), snapshotter, runtimeName };
    return assemble(containers, { client, directory: execDirectory, log });
  } catch (error) {
    client.close();
    throw error;
  }
}

function assemble(containers: ContainerContext, execs: ExecContext): Runtime {
  const { client, images } = containers;
  const watches = new Set<{ stop(): void }>();
  return {
    version: async () => (await client.call(VersionService.version, {})).version,
    list: () => listContainers(containers),
    create: (spec) => createContainer(containers, spec),
    recreate: (spec) => recreateContainer(containers, spec),
    start: (id) => startContainer(containers, id),
    stop: (id, options) => stopContainer(containers, id, options),
    kill: (id, signal) => killContainer(containers, id, signal),
    openRoot: (id) => openContainerRoot(containers, id),
    usage: async (id) => usageOf(await processIdOf(containers, id)),
    processes: async (id) => processesOf(await processIdOf(containers, id)),
    remove: (id) => removeContainer(containers, id),
    exec: (request) => execInContainer(execs, request),
    attach: (id) => attachContainer(client, id),
    settle: (id) => settleContainer(client, id),
    events: (onEvent) => {
      const watch = watchEvents(client, execs.log, onEvent);
      watches.add(watch);
      return watch;
    },
    listImages: () => listImages(images),
    resolveImage: (reference) => resolveImage(images, reference),
    importImage: (archive) => importArchive(images, archive),
    describeImage: (reference) => describeImage(images, reference),
    readBlob: (digest) => streamBlob(client, digest),
    receiveImages: (offers, bring) => receiveImages(images, offers, bring),
    resolveRemote: (reference, auth) => resolveRemote(reference, auth),
    pullImage: (reference, auth, onProgress) => pullImage(images, reference, auth, onProgress),
    removeImage: (name) => removeImage(images, name),
    close: async () => {
      for (const watch of watches) watch.stop();
      client.close();
      await Promise.resolve();
    },
  };
}

async function checkVersion(client: ContainerdClient): Promise<void> {
  const { version } = await client.call(VersionService.version, {}, { deadlineMs: CONNECT_DEADLINE_MS }).catch((cause: unknown) => {
    throw new WeftError('RUNTIME', {
      what: `containerd does not answer at ${client.socket}`,
      why: cause instanceof WeftError ? cause.why : undefined,
      hint: 'Check that containerd runs (`systemctl status containerd`) and that its socket is there.',
      cause,
    });
  });
  const [major = 0, minor = 0] = (/(\d+)\.(\d+)/.exec(version)?.slice(1) ?? []).map(Number);
  if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) {
    throw new WeftError('RUNTIME', { what: `containerd ${version} is too old`, hint: `Install containerd ${OLDEST.join('.')} or newer.` });
  }
}

async function checkSnapshotter(client: ContainerdClient, snapshotter: string): Promise<void> {
  const { plugins } = await client.call(IntrospectionService.plugins, { filters: ['type==io.containerd.snapshotter.v1'] });
  const plugin = plugins.find((p) => p.id === snapshotter);
  if (plugin && !plugin.initErr?.message) return;
  throw new WeftError('RUNTIME', {
    what: `containerd cannot use the snapshotter ${snapshotter}`,
    why: plugin?.initErr?.message ?? 'it does not have it',
    hint: 'Its directory must be on a file system that overlayfs works on (not on overlayfs itself).',
  });
}

async function ensureNamespace(client: ContainerdClient): Promise<void> {
  try {
    await client.call(NamespacesService.create, { namespace: { name: client.namespace, labels: {} } });
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
}
