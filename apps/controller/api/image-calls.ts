/** Images on the nodes: listed, loaded from an archive, or made present and pinned to one digest. */
import { asWeftError, WeftError } from '#base/errors.js';
import { callUnary, openBidi, readStream, type Bidi } from '#rpc/client.js';
import { fromDetail, toDetail } from '#rpc/errors.js';
import type { ImageProgress, ListImagesResponse, LoadImageRequest, NodeImages, PrepareImagesRequest } from '#rpc/gen/weft/v1/api.js';
import type { Image } from '#rpc/gen/weft/v1/types.js';
import type { ClusterFollower } from '../cluster/follower.js';
import { merge } from '#base/streams.js';
import type { NodeClients, Reach } from './node-clients.js';

const LIST_TIMEOUT_MS = 5_000;
/** Characters of a digest that a person needs to tell it from another: `sha256:` and twelve. */
const SHOWN_DIGEST = 19;

const line = (parts: Partial<ImageProgress>): ImageProgress => ({
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
interface Tally {
  /** Reference → node name → image. */
  images: Map<string, Map<string, Image>>;
  errors: { node: string; error: WeftError }[];
}

export class ImageCalls {
  readonly #follower: ClusterFollower;
  readonly #clients: NodeClients;

  constructor(follower: ClusterFollower, clients: NodeClients) {
    this.#follower = follower;
    this.#clients = clients;
  }

  list = async (): Promise<ListImagesResponse> => {
    const nodes = [...this.#follower.model.nodes.values()].sort((a, b) => a.index - b.index);
    return { nodes: await Promise.all(nodes.map((node) => this.#listOne(this.#clients.reach(node)))) };
  };

  async #listOne({ node, client, target }: Reach): Promise<NodeImages> {
    try {
      const response = await callUnary(client, 'listImages', {}, { timeoutMs: LIST_TIMEOUT_MS, target });
      return { node: node.name, images: response.nodes.flatMap((n) => n.images), error: '' };
    } catch (error) {
      return { node: node.name, images: [], error: asWeftError(error).message };
    }
  }

  /**
   * Every ready node gets every image; each reference then means one digest on all of them.
   * Where nodes disagree (a tag has moved), all are asked to look again in the registry, once.
   * @throws IMAGE_UNKNOWN, NO_NODES, CONFLICT
   */
  async *prepare(request: PrepareImagesRequest, signal: AbortSignal): AsyncGenerator<ImageProgress> {
    const reaches = this.#clients.allReady(this.#follower.model);
    let tally = newTally();
    yield* this.#ask(reaches, request, tally, signal);
    throwFirst(tally);
    const disputed = request.images.filter((wanted) => digestsOf(tally, wanted.reference).size > 1);
    if (disputed.length > 0) {
      const again = newTally();
      yield* this.#ask(reaches, { images: disputed.map((wanted) => ({ ...wanted, refresh: true })) }, again, signal);
      throwFirst(again);
      tally = { images: new Map([...tally.images, ...again.images]), errors: [] };
    }
    for (const { reference } of request.images)
      yield line({ reference, message: 'ready on all nodes', image: agreed(tally, reference, reaches) });
  }

  async *#ask(reaches: readonly Reach[], request: PrepareImagesRequest, tally: Tally, signal: AbortSignal): AsyncGenerator<ImageProgress> {
    const streams = reaches.map((reach) => tell(reach, readStream(reach.client.prepareImages(request), signal, reach.target), tally));
    yield* merge(streams);
  }

  /** The archive goes to every ready node as it comes in; the slowest sets the pace. A node that fails is left out and reported. */
  async *load(requests: AsyncIterable<LoadImageRequest>, signal: AbortSignal): AsyncGenerator<ImageProgress> {
    const reaches = this.#clients.allReady(this.#follower.model);
    const tally = newTally();
    const calls = reaches.map((reach) => openBidi<LoadImageRequest, ImageProgress>(reach.client.loadImage(), signal, reach.target));
    const feeding = feed(requests, calls);
    // Heard below; without this a failure before then would count as unhandled.
    feeding.catch(() => undefined);
    yield* merge(calls.map((call, i) => tell(reaches[i] as Reach, call.messages, tally)));
    throwFirst(tally);
    await feeding;
    for (const reference of tally.images.keys())
      yield line({ reference, message: 'loaded on all nodes', image: agreed(tally, reference, reaches) });
  }
}

const newTally = (): Tally => ({ images: new Map(), errors: [] });

async function feed(requests: AsyncIterable<LoadImageRequest>, calls: readonly Bidi<LoadImageRequest, ImageProgress>[]): Promise<void> {
  const open = new Set(calls);
  for await (const request of requests) {
    await Promise.all([...open].map((call) => call.send(request).catch(() => open.delete(call))));
    if (open.size === 0) return;
  }
  for (const call of calls) call.end();
}

/** One node's progress under its name, noted in the tally. What goes wrong becomes a line: the others go on. */
async function* tell({ node }: Reach, stream: AsyncIterable<ImageProgress>, tally: Tally): AsyncGenerator<ImageProgress> {
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

function throwFirst(tally: Tally): void {
  const first = tally.errors[0];
  if (!first) return;
  const others = tally.errors.length > 1 ? ` (and ${tally.errors.length - 1} more node(s) failed)` : '';
  throw new WeftError(first.error.code, {
    what: `node ${first.node}: ${first.error.what}${others}`,
    why: first.error.why,
    hint: first.error.hint,
  });
}

const digestsOf = (tally: Tally, reference: string): Set<string> =>
  new Set([...(tally.images.get(reference)?.values() ?? [])].map((i) => i.digest));

function agreed(tally: Tally, reference: string, reaches: readonly Reach[]): Image {
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
