/** What nodes say of images, line by line, gathered: who failed, and whether they agree on what a name means. */
import { asWeftError, WeftError } from '#base/errors.js';
import { fromDetail, toDetail } from '#rpc/errors.js';
import type { ImageProgress } from '#rpc/gen/weft/v1/api.js';
import type { Image } from '#rpc/gen/weft/v1/types.js';
import type { Reach } from './node-clients.js';

/** Characters of a digest that a person needs to tell it from another: `sha256:` and twelve. */
const SHOWN_DIGEST = 19;

export const line = (parts: Partial<ImageProgress>): ImageProgress => ({
  node: '',
  reference: '',
  message: '',
  doneBytes: 0,
  totalBytes: 0,
  image: undefined,
  error: undefined,
  ...parts,
});

/** What the nodes said so far. */
export interface Tally {
  /** Reference → node name → image. */
  images: Map<string, Map<string, Image>>;
  errors: { node: string; error: WeftError }[];
}

export const newTally = (): Tally => ({ images: new Map(), errors: [] });

/** One node's progress under its name, noted in the tally. What goes wrong becomes a line: the others go on. */
export async function* tell({ node }: Reach, stream: AsyncIterable<ImageProgress>, tally: Tally): AsyncGenerator<ImageProgress> {
  const failed = (error: WeftError): void => {
    if (!tally.errors.some((e) => e.node === node.name)) tally.errors.push({ node: node.name, error });
  };
  try {
    for await (const progress of stream) {
      if (progress.error) failed(fromDetail(progress.error));
      if (progress.image) {
        const reference = progress.reference || progress.image.name;
        const row = tally.images.get(reference) ?? new Map<string, Image>();
        tally.images.set(reference, row.set(node.name, progress.image));
      }
      yield { ...progress, node: node.name };
    }
  } catch (thrown) {
    const error = asWeftError(thrown);
    const told = tally.errors.some((e) => e.node === node.name);
    failed(error);
    if (!told) yield line({ node: node.name, message: error.message, error: toDetail(error) });
  }
}

/** @throws what the first node that failed said */
export function throwFirst(tally: Tally): void {
  const first = tally.errors[0];
  if (!first) return;
  const others = tally.errors.length > 1 ? ` (and ${tally.errors.length - 1} more node(s) failed)` : '';
  throw new WeftError(first.error.code, {
    what: `node ${first.node}: ${first.error.what}${others}`,
    why: first.error.why,
    hint: first.error.hint,
  });
}

/** What the nodes have under a reference. */
export const digestsOf = (tally: Tally, reference: string): Set<string> =>
  new Set([...(tally.images.get(reference)?.values() ?? [])].map((i) => i.digest));

/** The image that all nodes have. @throws IMAGE_UNKNOWN, CONFLICT */
export function agreed(tally: Tally, reference: string, reaches: readonly Reach[]): Image {
  const row = tally.images.get(reference) ?? new Map<string, Image>();
  const missing = reaches.filter((r) => !row.has(r.node.name)).map((r) => r.node.name);
  if (missing.length > 0)
    throw new WeftError('IMAGE_UNKNOWN', {
      what: `image ${reference} is not on every node`,
      why: `it is missing on ${missing.join(', ')}`,
    });
  const digests = new Set([...row.values()].map((image) => image.digest));
  if (digests.size > 1) {
    throw new WeftError('CONFLICT', {
      what: `image ${reference} is not the same on all nodes`,
      why: reaches.map(({ node }) => `${node.name} has ${row.get(node.name)?.digest.slice(0, SHOWN_DIGEST)}…`).join(', '),
      hint: 'Load it again with `ctl image load`, or name it by digest.',
    });
  }
  return [...row.values()][0] as Image;
}
