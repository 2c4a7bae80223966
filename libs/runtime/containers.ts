/**
 * The life of a container. Made in the order record, snapshot, task and taken apart in the order task, snapshot, record: the record names its
 * snapshot, so the garbage collector leaves it alone, and whatever a crash leaves half-made still shows in `list` and goes with `remove`.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { WeftError } from '#base/errors.js';
import type { ContainerdClient } from './client.js';
import { isAlreadyExists, isNotFound, orUndefined, statusOf } from './client.js';
import { ContainersService } from './gen/services/containers/v1/containers.js';
import type { Container } from './gen/services/containers/v1/containers.js';
import { Kind, SnapshotsService } from './gen/services/snapshots/v1/snapshots.js';
import { TasksService } from './gen/services/tasks/v1/tasks.js';
import type { Mount } from './gen/types/mount.js';
import { Status } from './gen/types/task/task.js';
import type { Process } from './gen/types/task/task.js';
import { hostFacts } from './host-facts.js';
import type { ImageView } from './image-view.js';
import { imageToRun } from './images.js';
import type { ImageContext, LoadedImage } from './images.js';
import { buildOciSpec } from './oci-spec.js';
import { ociText, parseOciSpec, type OciSpec } from './oci-types.js';
import { openRoot } from './rootfs-files.js';
import { runtimeFailure } from './runtime-failure.js';
import type { ContainerInfo, ContainerRoot, ContainerSpec, ContainerState } from './runtime.js';
import { seedVolumes } from './seed-volumes.js';
import { signalNumber } from './signals.js';
import { waitForExit } from './wait.js';
import { resolveGroups, resolveUser, withGroups } from './user.js';
import type { ImageUserFiles } from './user-files.js';

export interface ContainerContext {
  client: ContainerdClient;
  images: ImageContext;
  view: ImageView;
  userFiles: ImageUserFiles;
  snapshotter: string;
  runtimeName: string;
}

/** Type names that containerd's own clients use, so that `ctr` can read our records. */
const SPEC_TYPE = 'types.containerd.io/opencontainers/runtime-spec/1/Spec';
/** What we note about a container. containerd limits its labels to 4 KiB, which Compose labels may exceed; an extension has no limit. */
const NOTE_KEY = 'weft';
const NOTE_TYPE = 'weft/container/v1';
/** Of a record, what may differ from one start of a task to the next. */
const REMADE_FIELDS = ['spec', 'extensions', 'image'];
const TASK_DEADLINE_MS = 60_000;
/** After SIGKILL only the kernel can delay the end (a process in uninterruptible sleep). */
const KILL_DEADLINE_MS = 30_000;
/** How long containerd may take to notice that a shim has died. */
const LEFTOVER_MS = 15_000;
const LEFTOVER_POLL_MS = 100;
const SIGKILL = 9;

interface Note {
  labels: Record<string, string>;
  stopSignal: string;
  /** Of `group_add`, by number: commands added to the container are in them, too. */
  groups?: number[];
}

/** @throws IMAGE_UNKNOWN, BAD_VALUE, CONFLICT if the id is taken, RUNTIME. On failure nothing is left. */
export async function createContainer(ctx: ContainerContext, spec: ContainerSpec): Promise<void> {
  const image = await imageToRun(ctx.images, spec.image);
  const record = await recordOf(ctx, spec, image);
  try {
    await ctx.client.call(ContainersService.create, { container: record });
  } catch (error) {
    if (isAlreadyExists(error))
      throw new WeftError('CONFLICT', { what: `a container ${spec.id} exists already`, hint: 'Remove it first.', cause: error });
    throw error;
  }
  await orNothing(ctx, spec, async () => {
    await seedVolumes(ctx.view, image.chainId, spec.mounts);
    const { mounts } = await ctx.client.call(SnapshotsService.prepare, layerOf(ctx, spec.id, { parent: image.chainId, labels: {} }));
    await createTask(ctx, spec, mounts);
  });
}

/**
 * As `createContainer`, with the layer of the container that has this id, if that is one of the same image. The record is written anew: paths on
 * the node may be others than before. @throws IMAGE_UNKNOWN, BAD_VALUE: nothing has changed then; RUNTIME: nothing is left
 */
export async function recreateContainer(ctx: ContainerContext, spec: ContainerSpec): Promise<void> {
  const image = await imageToRun(ctx.images, spec.image);
  if (!(await hasLayer(ctx, spec.id, image.chainId))) {
    await removeContainer(ctx, spec.id);
    return createContainer(ctx, spec);
  }
  const container = await recordOf(ctx, spec, image);
  await orNothing(ctx, spec, async () => {
    await removeTask(ctx, spec.id);
    await ctx.client.call(ContainersService.update, { container, updateMask: REMADE_FIELDS });
    await seedVolumes(ctx.view, image.chainId, spec.mounts);
    const { mounts } = await ctx.client.call(SnapshotsService.mounts, layerOf(ctx, spec.id, {}));
    await createTask(ctx, spec, mounts);
  });
}

const layerOf = <T extends object>({ snapshotter }: ContainerContext, key: string, more: T) => ({ snapshotter, key, ...more });

/** Whether there is a container with a layer of its own on top of the image. */
async function hasLayer(ctx: ContainerContext, id: string, chainId: string): Promise<boolean> {
  const { client } = ctx;
  const [record, layer] = await Promise.all([
    orUndefined(client.call(ContainersService.get, { id })),
    orUndefined(client.call(SnapshotsService.stat, layerOf(ctx, id, {}))),
  ]);
  return record?.container !== undefined && layer?.info?.kind === Kind.ACTIVE && layer.info.parent === chainId;
}

async function orNothing(ctx: ContainerContext, { id }: ContainerSpec, make: () => Promise<void>): Promise<void> {
  try {
    await make();
  } catch (error) {
    await removeContainer(ctx, id).catch(() => undefined);
    throw runtimeFailure('cannot create the container', error);
  }
}

async function recordOf(ctx: ContainerContext, spec: ContainerSpec, image: LoadedImage): Promise<Container> {
  const { passwd, group } = await ctx.userFiles.read(image.chainId);
  const groups = resolveGroups(spec.groups, group);
  const user = withGroups(resolveUser(spec.user || image.config.user, passwd, group), groups);
  const oci = buildOciSpec(image.config, spec, user, await hostFacts(ctx.client.namespace, spec));
  const stopSignal = spec.stopSignal ?? image.config.stopSignal ?? 'SIGTERM';
  signalNumber(stopSignal);
  const note: Note = { labels: spec.labels, stopSignal, ...(groups.length > 0 ? { groups } : {}) };
  return {
    id: spec.id,
    labels: {},
    image: spec.image,
    runtime: { name: spec.runtime ?? ctx.runtimeName, options: undefined },
    spec: { typeUrl: SPEC_TYPE, value: Buffer.from(ociText(oci)) },
    snapshotter: ctx.snapshotter,
    snapshotKey: spec.id,
    createdAt: undefined,
    updatedAt: undefined,
    extensions: { [NOTE_KEY]: { typeUrl: NOTE_TYPE, value: Buffer.from(JSON.stringify(note)) } },
  };
}

async function createTask({ client }: ContainerContext, spec: ContainerSpec, rootfs: Mount[]): Promise<void> {
  const { stdin = '', stdout, stderr } = spec.stdio;
  const terminal = spec.tty ?? false;
  // A terminal has one output. The shim waits in this call until someone reads the FIFOs.
  const task = { containerId: spec.id, rootfs, stdin, stdout, stderr: terminal ? '' : stderr, terminal };
  const until = performance.now() + LEFTOVER_MS;
  for (;;) {
    try {
      await client.call(TasksService.create, task, { deadlineMs: TASK_DEADLINE_MS });
      return;
    } catch (error) {
      // There is none that is known, so this is an earlier one whose shim died, which containerd is still clearing away.
      if (!isAlreadyExists(error) || performance.now() > until) throw error;
      await sleep(LEFTOVER_POLL_MS);
    }
  }
}

/** @throws NOT_FOUND, RUNTIME */
export async function startContainer({ client }: ContainerContext, id: string): Promise<number> {
  try {
    const { pid } = await client.call(TasksService.start, { containerId: id, execId: '' }, { deadlineMs: TASK_DEADLINE_MS });
    return pid;
  } catch (error) {
    throw isNotFound(error) ? noContainer(id, error) : runtimeFailure(`cannot start the container ${id}`, error);
  }
}

const noContainer = (id: string, cause?: unknown) =>
  new WeftError('NOT_FOUND', {
    what: `no container ${id} to start`,
    why: 'it was never made, or lost its task',
    hint: 'Remove it and create it again.',
    cause,
  });

const STATES: Readonly<Record<number, ContainerState>> = {
  [Status.CREATED]: 'created',
  [Status.RUNNING]: 'running',
  [Status.PAUSED]: 'paused',
  [Status.PAUSING]: 'paused',
};

export async function listContainers({ client }: ContainerContext): Promise<ContainerInfo[]> {
  // Tasks first: a container that is made in between then shows as one without a task, rather than a task without a container.
  const { tasks } = await client.call(TasksService.list, { filter: '' });
  const { containers } = await client.call(ContainersService.list, { filters: [] });
  const byId = new Map(tasks.map((task) => [task.id || task.containerId, task]));
  return containers.map((container) => infoOf(container, byId.get(container.id)));
}

function infoOf(container: Container, task: Process | undefined): ContainerInfo {
  const { labels } = noteOf(container);
  const base = { id: container.id, image: container.image, labels };
  // No task: half-made, or lost with a reboot or its shim. It cannot be started, so it is as good as stopped; its exit code is not known.
  if (!task) return { ...base, state: 'stopped' };
  const state = STATES[task.status] ?? 'stopped';
  if (state !== 'stopped') return { ...base, state, pid: task.pid };
  return { ...base, state, exitCode: task.exitStatus, ...(task.exitedAt ? { exitedAt: task.exitedAt.getTime() } : {}) };
}

function noteOf(container: Container): Note {
  const value = container.extensions[NOTE_KEY]?.value;
  return value ? (JSON.parse(value.toString()) as Note) : { labels: container.labels, stopSignal: 'SIGTERM' };
}

/** The record and its OCI spec. @param deadlineMs for containerd's answer @throws NOT_FOUND */
export async function inspectContainer(
  client: ContainerdClient,
  id: string,
  deadlineMs?: number,
): Promise<{ spec: OciSpec; stopSignal: string; groups: number[] }> {
  const { container } = (await orUndefined(client.call(ContainersService.get, { id }, { deadlineMs }))) ?? {};
  if (!container?.spec) throw new WeftError('NOT_FOUND', `no container ${id}`);
  const { stopSignal, groups = [] } = noteOf(container);
  return { spec: parseOciSpec(container.spec.value.toString()), stopSignal, groups };
}

/** Undefined if there is no task. */
export async function taskOf(client: ContainerdClient, id: string): Promise<Process | undefined> {
  return (await orUndefined(client.call(TasksService.get, { containerId: id, execId: '' })))?.process;
}

/** Signal, grace, SIGKILL. Resolves with the exit code; undefined if there is nothing (any more). @throws BAD_VALUE, RUNTIME */
export async function stopContainer(
  ctx: ContainerContext,
  id: string,
  options: { signal?: string; graceMs: number },
): Promise<number | undefined> {
  const task = await taskOf(ctx.client, id);
  if (!task) return undefined;
  if (task.status === Status.STOPPED) return task.exitStatus;
  const signal = signalNumber(options.signal ?? (await inspectContainer(ctx.client, id)).stopSignal);
  const abort = new AbortController();
  const gone = exitOf(ctx.client, id, abort.signal);
  try {
    // A process that was never started has nothing to be gentle about, and ignores everything but SIGKILL.
    const gentle = task.status !== Status.CREATED && signal !== SIGKILL;
    if (gentle) {
      await kill(ctx.client, id, signal);
      const ended = await Promise.race([gone, sleep(options.graceMs, 'late' as const, { signal: abort.signal })]);
      if (ended !== 'late') return ended;
    }
    await kill(ctx.client, id, SIGKILL);
    return await Promise.race([gone, stuck(id, abort.signal)]);
  } finally {
    abort.abort();
  }
}

/** @throws NOT_FOUND if it does not run, BAD_VALUE, RUNTIME */
export async function killContainer({ client }: ContainerContext, id: string, signal: string): Promise<void> {
  const number = signalNumber(signal);
  await runningTask(client, id);
  await kill(client, id, number);
}

/** @throws NOT_FOUND if it does not run */
export const processIdOf = async ({ client }: ContainerContext, id: string): Promise<number> => (await runningTask(client, id)).pid;

async function runningTask(client: ContainerdClient, id: string): Promise<Process> {
  const task = await taskOf(client, id);
  if (task?.status === Status.RUNNING || task?.status === Status.PAUSED) return task;
  throw new WeftError('NOT_FOUND', { what: `the container ${id} does not run`, hint: 'Look at `ctl ps`.' });
}

/** The process is looked at again once its root is open: its number may have gone to another process meanwhile. @throws NOT_FOUND */
export async function openContainerRoot({ client }: ContainerContext, id: string): Promise<ContainerRoot> {
  const { pid } = await runningTask(client, id);
  const root = await openRoot(`/proc/${pid}/root`).catch((cause: unknown) => {
    throw new WeftError('NOT_FOUND', { what: `the container ${id} does not run any more`, cause });
  });
  try {
    if ((await runningTask(client, id)).pid !== pid) throw new WeftError('CONFLICT', `the container ${id} was started again meanwhile`);
  } catch (error) {
    await root.close();
    throw error;
  }
  return { path: `/proc/${process.pid}/fd/${root.fd}`, close: () => root.close() };
}

/** Waits for the end; undefined if the task is gone (or the wait is called off). */
function exitOf(client: ContainerdClient, id: string, signal: AbortSignal): Promise<number | undefined> {
  return waitForExit(client, { containerId: id, execId: '' }, signal);
}

async function stuck(id: string, signal: AbortSignal): Promise<never> {
  await sleep(KILL_DEADLINE_MS, undefined, { signal });
  throw new WeftError('RUNTIME', {
    what: `the container ${id} does not end`,
    why: `it still runs ${KILL_DEADLINE_MS / 1000} s after SIGKILL`,
    hint: 'Look for a process in uninterruptible sleep (state D).',
  });
}

/** A process that has ended already is no error. */
async function kill(client: ContainerdClient, id: string, signal: number): Promise<void> {
  try {
    await client.call(TasksService.kill, { containerId: id, execId: '', signal, all: false });
  } catch (error) {
    const ended =
      isNotFound(error) ||
      statusOf(error) === status.FAILED_PRECONDITION ||
      /process already finished|not running|no such process/i.test(String(error));
    if (!ended) throw error;
  }
}

async function removeTask(ctx: ContainerContext, id: string): Promise<void> {
  if (!(await taskOf(ctx.client, id))) return;
  await stopContainer(ctx, id, { signal: 'SIGKILL', graceMs: 0 });
  await orUndefined(ctx.client.call(TasksService.delete, { containerId: id }, { deadlineMs: TASK_DEADLINE_MS }));
}

/** From whatever state. Idempotent. @throws RUNTIME */
export async function removeContainer(ctx: ContainerContext, id: string): Promise<void> {
  const { client, snapshotter } = ctx;
  await removeTask(ctx, id);
  await orUndefined(client.call(SnapshotsService.remove, { snapshotter, key: id }, { deadlineMs: TASK_DEADLINE_MS }));
  await orUndefined(client.call(ContainersService.delete, { id }));
}
