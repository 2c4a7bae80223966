/** /etc/passwd and /etc/group of an image (looked up once) and of a running container (through its root). */
import type { ImageView } from './image-view.js';
import { readFileBelow } from './rootfs-files.js';

export interface UserFiles {
  passwd: string;
  group: string;
}

const MAX_KNOWN = 128;

export class ImageUserFiles {
  readonly #view: ImageView;
  /** By chain id: what is under one never changes. */
  readonly #known = new Map<string, Promise<UserFiles>>();

  constructor(view: ImageView) {
    this.#view = view;
  }

  /** Files of the image with this top layer; empty text for those it does not have. @throws RUNTIME */
  read(chainId: string): Promise<UserFiles> {
    if (chainId === '') return Promise.resolve({ passwd: '', group: '' });
    const known = this.#known.get(chainId);
    if (known) return known;
    if (this.#known.size >= MAX_KNOWN) this.#known.delete(this.#known.keys().next().value as string);
    const reading = this.#view.with(chainId, userFilesBelow);
    this.#known.set(chainId, reading);
    reading.catch(() => this.#known.delete(chainId));
    return reading;
  }
}

/** Of a directory that is a root file system: a mounted image, or /proc/<pid>/root. */
export async function userFilesBelow(root: string): Promise<UserFiles> {
  const [passwd, group] = await Promise.all([readFileBelow(root, '/etc/passwd'), readFileBelow(root, '/etc/group')]);
  return { passwd: passwd ?? '', group: group ?? '' };
}
