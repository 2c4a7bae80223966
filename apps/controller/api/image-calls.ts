/** Images on the nodes: listed, loaded from an archive, or made present and pinned to one digest. */
import { asWeftError } from '#base/errors.js';
import { callUnary, openBidi, readStream, type Bidi } from '#rpc/client.js';
import type {
  ImageProgress,
  ListImagesResponse,
  LoadImageRequest,
  NodeImages,
  PrepareImagesRequest,
  WantedImage,
} from '#rpc/gen/weft/v1/api.js';
import { normalizeReference, parseReference } from '#runtime/reference.js';
import type { ClusterFollower } from '../cluster/follower.js';
import { agreed, digestsOf, line, newTally, tell, throwFirst, type Tally } from './image-tally.js';
import { merge } from '#base/streams.js';
import type { NodeClients, Reach } from './node-clients.js';

const LIST_TIMEOUT_MS = 5_000;
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
   * Every ready node gets every image, from another node where one has it; each reference then means one digest on all of them.
   * Where nodes disagree (a tag has moved), all are asked to look again in the registry, once.
   * @throws IMAGE_UNKNOWN, NO_NODES, CONFLICT
   */
  async *prepare(request: PrepareImagesRequest, signal: AbortSignal): AsyncGenerator<ImageProgress> {
    const reaches = this.#clients.allReady(this.#follower.model);
    let tally = newTally();
    const images = await this.#withKnown(request.images, reaches);
    yield* this.#ask(reaches, { images }, tally, signal);
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

  /** Says of each image what some nodes have under its name, for the others to have it from them. */
  async #withKnown(images: readonly WantedImage[], reaches: readonly Reach[]): Promise<WantedImage[]> {
    const nodes = await Promise.all(reaches.map((reach) => this.#listOne(reach)));
    const all = nodes.flatMap((node) => node.images);
    return images.map((wanted) => {
      if (wanted.refresh) return { ...wanted, digest: '' };
      const { digest } = parseReference(wanted.reference);
      const name = normalizeReference(wanted.reference);
      const found = new Set(all.filter((image) => (digest ? image.digest === digest : image.name === name)).map((image) => image.digest));
      return { ...wanted, digest: found.size === 1 ? ([...found][0] ?? '') : '' };
    });
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

async function feed(requests: AsyncIterable<LoadImageRequest>, calls: readonly Bidi<LoadImageRequest, ImageProgress>[]): Promise<void> {
  const open = new Set(calls);
  for await (const request of requests) {
    await Promise.all([...open].map((call) => call.send(request).catch(() => open.delete(call))));
    if (open.size === 0) return;
  }
  for (const call of calls) call.end();
}
