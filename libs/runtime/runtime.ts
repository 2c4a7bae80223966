/**
 * The container runtime port: the few verbs that the agent needs. Two implementations are held to one contract suite
 * (test/contract/runtime): `openContainerd` (containerd.ts) and `FakeRuntime` (fake-runtime.ts).
 */
import type { Readable, Writable } from 'node:stream';
import type { RuntimeKeys } from '#model/container-keys.js';

export interface Mount {
  type: 'bind' | 'tmpfs';
  /** Absolute path on the node (bind). */
  source?: string;
  /** Absolute path in the container. */
  target: string;
  readOnly?: boolean;
  /** bind only: a volume that, while it is empty, is first filled with what the image has at `target`, with owners and modes (as Docker does). */
  seed?: boolean;
  /** bind only (mount_namespaces(7)); rprivate if left out. */
  propagation?: 'private' | 'rprivate' | 'shared' | 'rshared' | 'slave' | 'rslave';
  /**
   * bind only: what becomes of what is mounted below the source. disabled: it is not there; writable (if left out): it is there, and
   * `readOnly` is not about it; readonly: `readOnly` is about all of it (mount_setattr(2): runc from 1.1).
   */
  recursive?: 'disabled' | 'writable' | 'readonly';
  /** bind only. */
  flags?: readonly ('nosuid' | 'nodev' | 'noexec')[];
  /** tmpfs only. */
  sizeBytes?: number;
  /** tmpfs only: permission bits, e.g. 0o1777. */
  mode?: number;
}

export interface ContainerSpec extends RuntimeKeys {
  /** Unique in the node's containerd namespace: the task's id. */
  id: string;
  /** Image reference as stored in the runtime (see `resolveImage`). */
  image: string;
  /** Replaces the image's CMD. */
  command?: string[];
  /** Replaces the image's ENTRYPOINT (and drops its CMD, as Docker does). */
  entrypoint?: string[];
  /** Added to, and overriding, the image's environment. */
  env: Record<string, string>;
  /** `user[:group]`, names or numbers; resolved in the container's /etc/passwd and /etc/group. */
  user?: string;
  workingDir?: string;
  hostname: string;
  /** Of its UTS namespace (setdomainname(2)). */
  domainname?: string;
  labels: Record<string, string>;
  mounts: Mount[];
  /** Path of the network namespace, e.g. /run/netns/weft-… */
  netnsPath: string;
  readOnlyRootfs?: boolean;
  capAdd?: string[];
  capDrop?: string[];
  /** `memoryReservationBytes`: what the kernel leaves it when memory is short. */
  limits?: { memoryBytes?: number; nanoCpus?: number; pids?: number; memoryReservationBytes?: number };
  /** FIFO paths that the log keeper reads; made by the caller. Without `stdin` the process's input is empty. */
  stdio: { stdin?: string; stdout: string; stderr: string };
  stopSignal?: string;
}

export type ContainerState = 'created' | 'running' | 'paused' | 'stopped';

export interface ContainerInfo {
  id: string;
  image: string;
  labels: Record<string, string>;
  state: ContainerState;
  pid?: number;
  /** Known once the state is `stopped`; absent if the process was lost (reboot, killed shim) or never made (crash in `create`). */
  exitCode?: number;
  /** Milliseconds since the epoch. */
  exitedAt?: number;
}

export type RuntimeEvent =
  | { type: 'exit'; containerId: string; exitCode: number; /** ms since the epoch */ at: number }
  | { type: 'oom'; containerId: string }
  /** Events may have been missed (connection lost and back): list again. */
  | { type: 'resync' };

/** HEALTHCHECK of an image, as Docker stores it: `test` begins with CMD, CMD-SHELL or NONE. What is not said is left out. */
export interface ImageHealthcheck {
  test: string[];
  intervalMs?: number;
  timeoutMs?: number;
  startPeriodMs?: number;
  startIntervalMs?: number;
  retries?: number;
}

export interface ImageInfo {
  /** Normalised reference: docker.io/library/busybox:latest */
  name: string;
  /** sha256:… of the manifest or index the name points to. */
  digest: string;
  sizeBytes: number;
  platforms: string[];
  healthcheck?: ImageHealthcheck;
  /** SHELL of the image: what runs a command that is one line, instead of `/bin/sh -c`. */
  shell?: string[];
}

/** A part of an image by what is in it: manifest, config or layer. */
export interface BlobRef {
  /** sha256:… */
  digest: string;
  /** Bytes. */
  size: number;
}

/** An image as it travels from place to place: what it is called, and all that it is made of. */
export interface ImageOffer {
  name: string;
  /** The manifest or index that the name stands for. */
  target: BlobRef & { mediaType: string };
  /** Each once, the target too. */
  blobs: BlobRef[];
}

/** Brings the blobs that are lacking, in any order; called once, even when nothing is. */
export type BringBlobs = (lacking: BlobRef[]) => AsyncIterable<{ digest: string; chunks: AsyncIterable<Uint8Array> }>;

export interface RegistryAuth {
  username: string;
  password: string;
}

export interface ExecRequest {
  containerId: string;
  argv: string[];
  tty: boolean;
  /** With every capability that the node can give. */
  privileged?: boolean;
  user?: string;
  workingDir?: string;
  env?: Record<string, string>;
  size?: { columns: number; rows: number };
}

/**
 * A process added to a container. Streams end when it exits, after all its output; with a tty everything comes on stdout. A reader
 * that is slow slows the process; destroy `stdout` and `stderr` when nobody reads any more.
 */
export interface ExecSession {
  stdin: NodeJS.WritableStream;
  stdout: Readable;
  stderr: Readable;
  resize(columns: number, rows: number): Promise<void>;
  signal(name: string): Promise<void>;
  /** Resolves with the exit code. */
  exited: Promise<number>;
}

/** The main process of a container, from outside. What it prints comes out of its FIFOs. */
export interface Attachment {
  /** Ended, the process sees the end of its input. Absent where the container was made without one. */
  stdin?: Writable;
  /** Of its terminal; nothing where it has none. */
  resize(columns: number, rows: number): Promise<void>;
  /** Lets go of the input without ending it. */
  close(): void;
}

/** What a container used since its start, and uses now. Whole numbers. */
export interface ContainerUsage {
  cpuMs: number;
  /** Without the page cache that the kernel can take back at once. */
  memoryBytes: number;
  /** The node's memory where there is no limit. */
  memoryLimitBytes: number;
  networkInBytes: number;
  networkOutBytes: number;
  blockInBytes: number;
  blockOutBytes: number;
  /** Threads too: as the pids controller counts. */
  pids: number;
}

export interface ContainerProcess {
  /** Name in the container, or the number. */
  user: string;
  /** As the node counts. */
  pid: number;
  ppid: number;
  cpuMs: number;
  /** Milliseconds since the epoch. */
  startedAt: number;
  /** `pts/0`; `?` for none. */
  terminal: string;
  command: string;
}

/** The root directory of a container's process, its mounts included. */
export interface ContainerRoot {
  /** Good for this process until closed. */
  path: string;
  close(): Promise<void>;
}

export interface PullProgress {
  message: string;
  doneBytes?: number;
  totalBytes?: number;
}

export interface Runtime {
  version(): Promise<string>;
  /** Containers of our own namespace, with their state. */
  list(): Promise<ContainerInfo[]>;
  /**
   * Creates (snapshot, container, runtime task) and does not start. Waits until the FIFOs have a reader. On failure nothing is left.
   * @throws IMAGE_UNKNOWN, BAD_VALUE (user, capability, path, nothing to run, a limit that the node cannot keep), NOT_FOUND (a device,
   * an init program), CONFLICT (the id is taken), RUNTIME
   */
  create(spec: ContainerSpec): Promise<void>;
  /**
   * As `create`, around what a container of the same id has written to its files: its layer is taken over where it is one of the same
   * image. What is left of that container otherwise goes first, running or not.
   * @throws as `create`, but for CONFLICT; what is wrong with the image or the values is found before anything has changed, and after any
   * other failure nothing is left, the layer neither
   */
  recreate(spec: ContainerSpec): Promise<void>;
  /** Starts a created container; returns its pid. One that has ended is removed and created again. @throws NOT_FOUND, RUNTIME */
  start(id: string): Promise<number>;
  /** Signal, then SIGKILL after `graceMs`; resolves with the exit code once the process is gone. Idempotent. */
  stop(id: string, options: { signal?: string; graceMs: number }): Promise<number | undefined>;
  /** Sends a signal to the main process, and does no more. @throws NOT_FOUND if it does not run, BAD_VALUE, RUNTIME */
  kill(id: string, signal: string): Promise<void>;
  /** The files of a container that runs. What is below the root is the container's to change at any time: see rootfs-files.ts. @throws NOT_FOUND */
  openRoot(id: string): Promise<ContainerRoot>;
  /** @throws NOT_FOUND if it does not run */
  usage(id: string): Promise<ContainerUsage>;
  /** Oldest first. @throws NOT_FOUND if it does not run */
  processes(id: string): Promise<ContainerProcess[]>;
  /** Removes runtime task, container and snapshot. Idempotent; kills what still runs. */
  remove(id: string): Promise<void>;
  exec(request: ExecRequest): Promise<ExecSession>;
  /** Of a container that is made, also before it is started. @throws NOT_FOUND */
  attach(id: string): Promise<Attachment>;
  /**
   * When this resolves, all that a container printed which has ended is in its FIFOs. Its exit code is not listed any more. Idempotent.
   * @throws RUNTIME, also if it runs
   */
  settle(id: string): Promise<void>;
  /** From when it is live (told by a first `resync`) until stopped. */
  events(onEvent: (event: RuntimeEvent) => void): { stop(): void };

  listImages(): Promise<ImageInfo[]>;
  /** The stored image that a user's name means, if it is here and complete for this platform. */
  resolveImage(reference: string): Promise<ImageInfo | undefined>;
  /** Imports a Docker or OCI archive (tar, optionally gzipped); returns the images it named. @throws IMAGE_INVALID */
  importImage(archive: AsyncIterable<Uint8Array>): Promise<ImageInfo[]>;
  /** What the image is made of, for another node to have it from here; undefined unless every part of it is here. @throws BAD_NAME */
  describeImage(reference: string): Promise<ImageOffer | undefined>;
  /** The bytes of a part. @throws NOT_FOUND, RUNTIME */
  readBlob(digest: string): AsyncIterable<Uint8Array>;
  /**
   * Takes images over from elsewhere: asks for the blobs that are not here and for no others, checks each, unpacks and names.
   * @throws IMAGE_INVALID when a blob is wrong or does not come (nothing is named then), BAD_NAME, RUNTIME
   */
  receiveImages(offers: readonly ImageOffer[], bring: BringBlobs): Promise<ImageInfo[]>;
  /** Asks the registry for the digest a reference stands for. @throws IMAGE_UNKNOWN, UNAUTHENTICATED */
  resolveRemote(reference: string, auth?: RegistryAuth): Promise<{ digest: string }>;
  /** Fetches, verifies and unpacks for this platform. @throws IMAGE_UNKNOWN, UNAUTHENTICATED, RUNTIME */
  pullImage(reference: string, auth: RegistryAuth | undefined, onProgress: (p: PullProgress) => void): Promise<ImageInfo>;
  removeImage(name: string): Promise<void>;
  close(): Promise<void>;
}
