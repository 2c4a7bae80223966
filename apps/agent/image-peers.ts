/** Images from other nodes: asked for by digest through a controller, which knows who has what. Only what lacks here travels. */
import { WeftError } from '#base/errors.js';
import { connect, openBidi, type Bidi } from '#rpc/client.js';
import { AgentHubClient } from '#rpc/gen/weft/v1/agent_hub.js';
import type { ImageTransfer } from '#rpc/gen/weft/v1/api.js';
import { blobsIn, offersOf, wantedMessage } from '#rpc/image-transfer.js';
import type { BlobRef, ImageInfo, PullProgress, Runtime } from '#runtime/runtime.js';
import type { Identity } from '#trust/identity.js';

export interface ImagePeersOptions {
  runtime: Pick<Runtime, 'receiveImages'>;
  identity: Identity;
  /** host:port of the controllers, as far as known. */
  controllers: () => string[];
}

/** From one line of progress to the next, in bytes. */
const REPORT_EVERY_BYTES = 1024 * 1024;

export class ImagePeers {
  readonly #o: ImagePeersOptions;
  /** By name and digest: two tasks that wait for one image fetch it once. */
  readonly #under = new Map<string, Promise<ImageInfo>>();

  constructor(options: ImagePeersOptions) {
    this.#o = options;
  }

  /**
   * The image with this digest, from a node that has it, under `name` from now on.
   * @throws IMAGE_UNKNOWN when no other node has it, UNAVAILABLE when no controller is reached, IMAGE_INVALID, RUNTIME
   */
  fetch(name: string, digest: string, onProgress: (p: Partial<PullProgress>) => void): Promise<ImageInfo> {
    const key = `${name} ${digest}`;
    const running = this.#under.get(key) ?? this.#fetch(name, digest, onProgress).finally(() => this.#under.delete(key));
    this.#under.set(key, running);
    return running;
  }

  async #fetch(name: string, digest: string, onProgress: (p: Partial<PullProgress>) => void): Promise<ImageInfo> {
    let last: unknown = new WeftError('UNAVAILABLE', 'no controller is known to ask for images');
    for (const target of this.#o.controllers()) {
      try {
        return await this.#fetchBy(target, name, digest, onProgress);
      } catch (error) {
        last = error;
        if (!(error instanceof WeftError) || error.code !== 'UNAVAILABLE') throw error;
      }
    }
    throw last;
  }

  async #fetchBy(target: string, name: string, digest: string, onProgress: (p: Partial<PullProgress>) => void): Promise<ImageInfo> {
    const client = connect(AgentHubClient, target, this.#o.identity, 'controller');
    const call = openBidi(client.fetchImage(), undefined, `the controller at ${target}`);
    try {
      await call.send({ part: { $case: 'ask', value: { reference: name, digest } } });
      const offer = offersOf((await call.messages.next()).value)[0];
      if (offer?.target.digest !== digest) throw new WeftError('IMAGE_INVALID', `another image than ${digest} was offered`);
      const [image] = await this.#o.runtime.receiveImages([{ ...offer, name }], (lacking) => bring(call, lacking, onProgress));
      if (!image) throw new WeftError('IMAGE_INVALID', `the image ${name} came to nothing`);
      return image;
    } finally {
      call.cancel();
      client.close();
    }
  }
}

async function* bring(
  call: Bidi<ImageTransfer, ImageTransfer>,
  lacking: BlobRef[],
  onProgress: (p: Partial<PullProgress>) => void,
): AsyncGenerator<{ digest: string; chunks: AsyncIterable<Uint8Array> }> {
  await call.send(wantedMessage(lacking.map(({ digest }) => digest)));
  const totalBytes = lacking.reduce((sum, { size }) => sum + size, 0);
  let doneBytes = 0;
  let reported = 0;
  async function* counted(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      yield chunk;
      doneBytes += chunk.length;
      if (doneBytes - reported < REPORT_EVERY_BYTES) continue;
      reported = doneBytes;
      onProgress({ message: 'receiving from another node', doneBytes, totalBytes });
    }
  }
  for await (const { digest, chunks } of blobsIn(call.messages)) yield { digest, chunks: counted(chunks) };
}
