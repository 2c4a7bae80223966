/**
 * The runtime's twin in memory: for tests of what stands above it. Held to the same contract as containerd (test/contract/runtime). Programs
 * are not run but recognised: see fake-programs.ts for the command lines it knows.
 */
import { WeftError } from '#base/errors.js';
import { digestOf } from './content.js';
import { FakeProcess, fakeSession, SIGKILL } from './fake-process.js';
import { programOf } from './fake-programs.js';
import type { FakeProgram } from './fake-programs.js';
import { normalizeReference, parseReference, repositoryOf } from './reference.js';
import type {
  Attachment,
  BringBlobs,
  ContainerInfo,
  ContainerProcess,
  ContainerRoot,
  ContainerSpec,
  ContainerUsage,
  ExecRequest,
  ExecSession,
  ImageInfo,
  ImageOffer,
  PullProgress,
  RegistryAuth,
  Runtime,
  RuntimeEvent,
} from './runtime.js';
import { signalNumber } from './signals.js';

interface FakeContainer {
  spec: ContainerSpec;
  /** Absent when a crash came between the container and its task. */
  process?: FakeProcess;
}

/** What a registry of the fake's holds: password-protected if `auth` is given. */
export interface FakeRemoteImage {
  name: string;
  auth?: RegistryAuth;
}

export class FakeRuntime implements Runtime {
  readonly #containers = new Map<string, FakeContainer>();
  readonly #images = new Map<string, ImageInfo>();
  /** The parts of the images: for each a manifest, which is its name, and one layer for all. */
  readonly #blobs = new Map<string, Buffer>();
  readonly #remote = new Map<string, FakeRemoteImage>();
  readonly #listeners = new Set<(event: RuntimeEvent) => void>();
  #cpuMs = 0;
  readonly #failures: { verb: string; error: Error }[] = [];
  /** Verbs called, in order: `create web-1`. */
  readonly calls: string[] = [];
  /** Container → a directory that stands for its root. */
  readonly roots = new Map<string, string>();
  /** First word of an exec's command → what becomes of it instead. */
  readonly programs = new Map<string, Partial<FakeProgram>>();

  constructor(options: { images?: string[]; remote?: FakeRemoteImage[] } = {}) {
    for (const name of options.images ?? []) this.addImage(name);
    for (const image of options.remote ?? []) this.#remote.set(normalizeReference(image.name), image);
  }

  // What a test does to it.

  addImage(name: string, more: Pick<ImageInfo, 'healthcheck' | 'shell'> = {}): ImageInfo {
    const whole = normalizeReference(name);
    this.#blobs.set(fakeDigest(whole), Buffer.from(whole));
    this.#blobs.set(digestOf(FAKE_LAYER), FAKE_LAYER);
    return this.#keep(whole, fakeDigest(whole), more);
  }

  /** The next call of this verb fails. */
  failNext(verb: keyof Runtime, error: Error = new WeftError('RUNTIME', `the fake was told to fail ${verb}`)): void {
    this.#failures.push({ verb, error });
  }

  /** Ends a container's process as a crash would. */
  crash(id: string, exitCode = 139): void {
    this.#containers.get(id)?.process?.end(exitCode);
  }

  /** As if the agent had died after the container's record and before its task. */
  leaveHalfMade(spec: ContainerSpec): void {
    this.#containers.set(spec.id, { spec });
  }

  oom(id: string): void {
    this.#emit({ type: 'oom', containerId: id });
    this.crash(id, 128 + SIGKILL);
  }

  /** Events were lost. */
  resync(): void {
    this.#emit({ type: 'resync' });
  }

  // The port.

  async version(): Promise<string> {
    await this.#called('version');
    return 'fake';
  }

  async list(): Promise<ContainerInfo[]> {
    await this.#called('list');
    return [...this.#containers.values()].map(({ spec, process }) => ({
      id: spec.id,
      image: spec.image,
      labels: { ...spec.labels },
      ...(process?.info() ?? { state: 'stopped' as const }),
    }));
  }

  async create(spec: ContainerSpec): Promise<void> {
    await this.#called('create', spec.id);
    this.#make(spec);
  }

  #make(spec: ContainerSpec): void {
    this.#imageOf(spec);
    if (this.#containers.has(spec.id)) throw new WeftError('CONFLICT', `a container ${spec.id} exists already`);
    const argv = [...(spec.entrypoint ?? []), ...(spec.command ?? ['sh'])];
    const onExit = (exitCode: number, at: number) => this.#emit({ type: 'exit', containerId: spec.id, exitCode, at });
    const process = new FakeProcess(programOf(argv), onExit, spec.stdio.stdin !== undefined);
    this.#containers.set(spec.id, { spec: { ...spec }, process });
  }

  async recreate(spec: ContainerSpec): Promise<void> {
    this.#imageOf(spec);
    const before = this.#containers.get(spec.id);
    try {
      await this.#called('recreate', spec.id);
      await before?.process?.stop(SIGKILL, 0);
    } finally {
      this.#containers.delete(spec.id);
    }
    this.#make(spec);
  }

  async start(id: string): Promise<number> {
    await this.#called('start', id);
    const process = this.#containers.get(id)?.process;
    if (!process) throw new WeftError('NOT_FOUND', `no container ${id} to start`);
    return process.start();
  }

  async stop(id: string, options: { signal?: string; graceMs: number }): Promise<number | undefined> {
    await this.#called('stop', id);
    const container = this.#containers.get(id);
    const signal = signalNumber(options.signal ?? container?.spec.stopSignal ?? 'SIGTERM');
    return container?.process?.stop(signal, options.graceMs);
  }

  async kill(id: string, signal: string): Promise<void> {
    await this.#called('kill', id);
    this.#running(id).signal(signalNumber(signal));
  }

  async openRoot(id: string): Promise<ContainerRoot> {
    await this.#called('openRoot', id);
    this.#running(id);
    const path = this.roots.get(id);
    if (path === undefined) throw new WeftError('RUNTIME', `the fake was given no files for ${id}`);
    return { path, close: () => Promise.resolve() };
  }

  /** What every container of the fake uses; one second of CPU more each time it is asked. */
  async usage(id: string): Promise<ContainerUsage> {
    await this.#called('usage', id);
    this.#running(id);
    this.#cpuMs += 1_000;
    const bytes = { networkInBytes: 3, networkOutBytes: 4, blockInBytes: 5, blockOutBytes: 6 };
    return { cpuMs: this.#cpuMs, memoryBytes: 1_000, memoryLimitBytes: 2_000, ...bytes, pids: 1 };
  }

  async processes(id: string): Promise<ContainerProcess[]> {
    await this.#called('processes', id);
    const { pid = 0 } = this.#running(id).info();
    const spec = this.#containers.get(id)?.spec;
    const command = [...(spec?.entrypoint ?? []), ...(spec?.command ?? ['sh'])].join(' ');
    return [{ user: 'root', pid, ppid: 1, cpuMs: 0, startedAt: 0, terminal: '?', command }];
  }

  #imageOf({ image }: ContainerSpec): void {
    if (!this.#find(image)) throw new WeftError('IMAGE_UNKNOWN', { what: `no image ${image} on this node` });
  }

  #running(id: string): FakeProcess {
    const process = this.#containers.get(id)?.process;
    if (process?.info().state === 'running') return process;
    throw new WeftError('NOT_FOUND', `the container ${id} does not run`);
  }

  async remove(id: string): Promise<void> {
    await this.#called('remove', id);
    await this.#containers.get(id)?.process?.stop(SIGKILL, 0);
    this.#containers.delete(id);
  }

  async exec(request: ExecRequest): Promise<ExecSession> {
    await this.#called('exec', request.containerId);
    const container = this.#containers.get(request.containerId);
    if (!container) throw new WeftError('NOT_FOUND', `no container ${request.containerId}`);
    if (container.process?.info().state !== 'running')
      throw new WeftError('RUNTIME', { what: 'cannot run a command in the container', why: 'the container does not run' });
    const known = programOf(request.argv);
    return fakeSession({ ...known, ...this.programs.get(request.argv[0] ?? '') });
  }

  async attach(id: string): Promise<Attachment> {
    await this.#called('attach', id);
    const { spec, process } = this.#containers.get(id) ?? {};
    if (!process) throw new WeftError('NOT_FOUND', `the container ${id} is not there`);
    const stdin = spec?.stdio.stdin === undefined ? undefined : process.input();
    return { ...(stdin ? { stdin } : {}), resize: () => Promise.resolve(), close: () => void stdin?.destroy() };
  }

  async settle(id: string): Promise<void> {
    await this.#called('settle', id);
    const container = this.#containers.get(id);
    const state = container?.process?.info().state ?? 'stopped';
    if (state !== 'stopped') throw new WeftError('RUNTIME', `the container ${id} is ${state}`);
    if (container) delete container.process;
  }

  events(onEvent: (event: RuntimeEvent) => void): { stop(): void } {
    // A function of its own, so that one listener can be added twice.
    const listener = (event: RuntimeEvent) => onEvent(event);
    this.#listeners.add(listener);
    queueMicrotask(() => this.#listeners.has(listener) && listener({ type: 'resync' }));
    return { stop: () => void this.#listeners.delete(listener) };
  }

  async listImages(): Promise<ImageInfo[]> {
    await this.#called('listImages');
    return [...this.#images.values()];
  }

  async resolveImage(reference: string): Promise<ImageInfo | undefined> {
    await this.#called('resolveImage', reference);
    return this.#find(reference);
  }

  /** The fake's archives are a JSON list of names. */
  async importImage(archive: AsyncIterable<Uint8Array>): Promise<ImageInfo[]> {
    await this.#called('importImage');
    const bytes = await joined(archive);
    try {
      const names = JSON.parse(bytes.toString()) as string[];
      return names.map((name) => this.addImage(name));
    } catch (cause) {
      throw new WeftError('IMAGE_INVALID', { what: 'the archive is no image', cause });
    }
  }

  async describeImage(reference: string): Promise<ImageOffer | undefined> {
    await this.#called('describeImage', reference);
    const image = this.#find(reference);
    if (!image) return undefined;
    const target = { digest: image.digest, size: this.#blobs.get(image.digest)?.length ?? 0 };
    const layer = { digest: digestOf(FAKE_LAYER), size: FAKE_LAYER.length };
    return { name: image.name, target: { ...target, mediaType: 'fake' }, blobs: [target, layer] };
  }

  async *readBlob(digest: string): AsyncGenerator<Uint8Array> {
    await this.#called('readBlob', digest);
    const bytes = this.#blobs.get(digest);
    if (!bytes) throw new WeftError('NOT_FOUND', `no blob ${digest} on this node`);
    yield bytes;
  }

  async receiveImages(offers: readonly ImageOffer[], bring: BringBlobs): Promise<ImageInfo[]> {
    await this.#called('receiveImages');
    const all = new Map(offers.flatMap((offer) => offer.blobs).map((blob) => [blob.digest, blob]));
    const lacking = [...all.values()].filter(({ digest }) => !this.#blobs.has(digest));
    const brought = new Map<string, Buffer>();
    for await (const { digest, chunks } of bring(lacking)) {
      const bytes = await joined(chunks);
      if (digestOf(bytes) !== digest || !lacking.some((blob) => blob.digest === digest))
        throw new WeftError('IMAGE_INVALID', `the blob ${digest} is not what it should be`);
      brought.set(digest, bytes);
    }
    const missing = lacking.find(({ digest }) => !brought.has(digest));
    if (missing) throw new WeftError('IMAGE_INVALID', `the blob ${missing.digest} is missing`);
    for (const [digest, bytes] of brought) this.#blobs.set(digest, bytes);
    return offers.map(({ name, target }) => this.#keep(normalizeReference(name), target.digest));
  }

  async resolveRemote(reference: string, auth?: RegistryAuth): Promise<{ digest: string }> {
    await this.#called('resolveRemote', reference);
    const ref = parseReference(reference);
    const image = [...this.#remote].find(([name]) =>
      ref.digest ? fakeDigest(name) === ref.digest : name === normalizeReference(reference),
    );
    if (!image) throw new WeftError('IMAGE_UNKNOWN', `${ref.registry} has no ${ref.repository}`);
    const needed = image[1].auth;
    if (needed && (needed.username !== auth?.username || needed.password !== auth.password))
      throw new WeftError('UNAUTHENTICATED', `${ref.registry} does not give out ${ref.repository}`);
    return { digest: fakeDigest(image[0]) };
  }

  async pullImage(reference: string, auth: RegistryAuth | undefined, onProgress: (progress: PullProgress) => void): Promise<ImageInfo> {
    await this.#called('pullImage', reference);
    const { digest } = await this.resolveRemote(reference, auth);
    onProgress({ message: `${reference}: ready`, doneBytes: 1000, totalBytes: 1000 });
    const image = { ...this.addImage(reference), digest };
    for (const name of this.#remote.keys()) if (fakeDigest(name) === digest) this.#blobs.set(digest, Buffer.from(name));
    this.#images.set(image.name, image);
    return image;
  }

  async removeImage(name: string): Promise<void> {
    await this.#called('removeImage', name);
    const image = this.#find(name);
    if (!image) return;
    this.#images.delete(image.name);
    if (![...this.#images.values()].some(({ digest }) => digest === image.digest)) this.#blobs.delete(image.digest);
    if (this.#images.size === 0) this.#blobs.clear();
  }

  async close(): Promise<void> {
    this.#listeners.clear();
    await Promise.resolve();
  }

  #keep(name: string, digest: string, more: Pick<ImageInfo, 'healthcheck' | 'shell'> = {}): ImageInfo {
    const image = { name, digest, sizeBytes: 1000, platforms: ['linux/amd64'], ...more };
    this.#images.set(name, image);
    return image;
  }

  #find(reference: string): ImageInfo | undefined {
    const ref = parseReference(reference);
    const exact = this.#images.get(normalizeReference(reference));
    if (exact || !ref.digest) return exact;
    return [...this.#images.values()].find(
      (image) => image.digest === ref.digest && repositoryOf(parseReference(image.name)) === repositoryOf(ref),
    );
  }

  #emit(event: RuntimeEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  async #called(verb: string, subject?: string): Promise<void> {
    this.calls.push(subject ? `${verb} ${subject}` : verb);
    // As with the real one, nothing is done before the caller's own turn ends.
    await Promise.resolve();
    const at = this.#failures.findIndex((failure) => failure.verb === verb);
    if (at >= 0) throw this.#failures.splice(at, 1)[0]?.error;
  }
}

const FAKE_LAYER = Buffer.from('the layer of every image');

async function joined(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const fakeDigest = (name: string): string => digestOf(Buffer.from(name));
