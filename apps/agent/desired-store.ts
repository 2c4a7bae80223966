/**
 * The last view this node believed, in memory and on disk. It is what every loop works from; it is there before any
 * controller answers.
 */
import { join } from 'node:path';
import { messageOf } from '#base/errors.js';
import type { Stop } from '#base/dispose.js';
import type { Log } from '#base/log.js';
import { decode, encode } from '#model/codec.js';
import { viewSnapshotSchema } from '#model/node-view.js';
import type { Task } from '#model/task.js';
import { applySnapshot, byKind, emptyView, toSnapshot, type NodeView, type ViewByKind } from '#model/view-state.js';
import { hostDisk, LazyFile, type Disk } from './atomic-file.js';

const FILE = 'view.json';
/** A view is on disk this long after it was believed, at the latest. */
const WRITE_DELAY_MS = 100;

export class DesiredStore {
  readonly #file: LazyFile;
  readonly #listeners = new Set<() => void>();
  #view: NodeView;
  #byKind: ViewByKind | undefined;
  #writing: NodeView;
  #saved: NodeView;

  private constructor(path: string, view: NodeView, log: Log, disk: Disk) {
    this.#view = this.#writing = this.#saved = view;
    this.#file = new LazyFile(
      path,
      () => {
        this.#writing = this.#view;
        return encode(toSnapshot(this.#view));
      },
      WRITE_DELAY_MS,
      (error) => log.error({ path, error: messageOf(error) }, 'cannot keep the desired state on disk'),
      disk,
    );
    this.#file.onWritten = () => (this.#saved = this.#writing);
  }

  /** Reads `<dataDir>/view.json`. A file that cannot be understood is set aside, and the node begins without a view. */
  static async open(dataDir: string, log: Log, disk: Disk = hostDisk): Promise<DesiredStore> {
    const path = join(dataDir, FILE);
    return new DesiredStore(path, await readView(path, log, disk), log, disk);
  }

  /** Up to which revision the view is on disk: what a crash cannot make this node forget. */
  get savedRevision(): number {
    return this.#saved.clusterId === this.#view.clusterId ? Math.min(this.#saved.revision, this.#view.revision) : 0;
  }

  get view(): NodeView {
    return this.#view;
  }

  get byKind(): ViewByKind {
    this.#byKind ??= byKind(this.#view);
    return this.#byKind;
  }

  task(id: string): Task | undefined {
    const found = this.#view.resources.get(`task/${id}`);
    return found?.kind === 'task' ? found.value : undefined;
  }

  hasTask(id: string): boolean {
    return this.task(id) !== undefined;
  }

  /** false until the first view was believed. */
  get isKnown(): boolean {
    return this.#view.clusterId !== '';
  }

  set(view: NodeView): void {
    this.#view = view;
    this.#byKind = undefined;
    this.#file.touch();
    for (const listener of this.#listeners) listener();
  }

  onChange(listener: () => void): Stop {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  flush(): Promise<void> {
    return this.#file.flush();
  }
}

async function readView(path: string, log: Log, disk: Disk): Promise<NodeView> {
  const text = await disk.read(path);
  if (text === undefined) return emptyView;
  try {
    return applySnapshot(decode(viewSnapshotSchema, text, path));
  } catch (error) {
    await disk.rename(path, `${path}.unreadable`);
    log.error({ path, error: messageOf(error) }, 'the desired state on disk cannot be read; it was set aside');
    return emptyView;
  }
}
